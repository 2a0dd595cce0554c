"""Typed options: frozen dataclasses whose mistakes are refused in one line.

@dataclass(frozen=True, config=STRICT)
class TrainingOptions(Options):
    section: ClassVar[str] = "training"

    epochs: PositiveInt = 1000
    \"\"\"Help of this option.\"\"\"
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

from pydantic import (
    ConfigDict,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from .errors import ConfigError, shorten, unknown_name, wrong_value

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Unknown names are refused; the string below a field is its help."""


@dataclass(frozen=True, config=STRICT)
class Options:
    """Base of all options.

    Raises:
        ConfigError: an option is unknown (the nearest name is suggested) or has a wrong value.
    """

    section: ClassVar[str] = ""
    """Name of the section in the configuration file that holds these options."""

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        """Turn pydantic's report of several lines into the error of this library."""
        try:
            return handler(values)
        except ValidationError as error:
            known = [field.name for field in dataclasses.fields(cls)]
            raise one_line(error, cls.section, known) from None


def one_line(error: ValidationError, section: str, known: list[str]) -> ConfigError:
    """The first problem of a pydantic report, as one line that names the option in full.

    Args:
        error: the report.
        section: section of the options, or an empty string.
        known: names of the options there are.
    """
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_name(f"{section} option".strip(), name, known)
    full = ".".join(part for part in (section, *map(str, first["loc"])) if part)
    reason = first["msg"][:1].lower() + first["msg"][1:]
    return ConfigError(f"option '{full}' is {shorten(_shown(first['input']))}: {reason}")


def checked_option(key: str, wanted: Any, value: Any) -> Any:
    """`value` as the type that the option `key` wants. Raises `ConfigError` in one line."""
    try:
        found = TypeAdapter(wanted).validate_python(value)
    except ValidationError as error:
        raise one_line(error, key, []) from None
    refuse_senseless(key, found)
    return found


def refuse_senseless(key: str, value: Any) -> None:
    """Refuse numbers that no loss can have: not finite ones, and negative weights."""
    if not isinstance(value, float | int):
        return
    if not math.isfinite(value) or (value < 0 and key.endswith("weight")):
        raise wrong_value(f"option '{key}'", value, "a finite number, and for weights at least 0")


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"
