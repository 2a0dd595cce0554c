"""Errors a user can mend.

Every message says what is wrong, where, and how to mend it. The command line prints it on one
line and leaves with exit code 2; library users catch `CrossalignError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CrossalignError(Exception):
    """Base of all errors that are the user's to mend."""


class ConfigError(CrossalignError):
    """An option is unknown, has a value out of range, or contradicts another one."""


class DataError(CrossalignError):
    """A data file is missing, unreadable or inconsistent."""


class RunError(CrossalignError):
    """A run folder or checkpoint cannot be used, or training broke off."""


LONGEST_VALUE = 80


def shorten(text: str) -> str:
    """`text` on one line, the middle left out where it is long, for messages."""
    text = " ".join(text.split())
    half = LONGEST_VALUE // 2
    return text if len(text) <= LONGEST_VALUE else f"{text[:half]}...{text[-half:]}"


def wrong_value(what: str, value: object, wanted: str) -> ConfigError:
    """The error for a value out of range: what it is of, and what to choose."""
    return ConfigError(f"{what} is {value}: choose {wanted}")


def require_positive_temperature(whose: str, value: float) -> None:
    """Refuse zero, NaN and negative ones, which would turn a loss around."""
    if not value > 0:
        raise wrong_value(f"temperature of {whose}", value, "a positive one")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ConfigError:
    """The error for an unknown `name`, with the nearest known one suggested."""
    names = sorted(known)
    if not names:
        return ConfigError(f"unknown {kind} '{name}': there is none to set here")
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"choose from: {', '.join(names)}"
    return ConfigError(f"unknown {kind} '{name}': {hint}")
