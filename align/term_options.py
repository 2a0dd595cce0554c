"""The terms of a composition as they stand in a configuration, and when each takes part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, unknown_name
from ..registry import Entry
from .base import ALIGNERS, Alignment

TERM_OPTIONS = {"weight": float, "start": int, "ramp": int}
"""Options that every term has."""


@dataclass(frozen=True)
class Schedule:
    """Nothing before the epoch `start`, then growth in `ramp` equal steps to full strength.

    It depends on the number of the epoch alone, so a resumed run has the schedule it would have
    had.

    Attributes:
        start: first epoch in which the term takes part, counted from 1.
        ramp: epochs of growth; the last of them has full strength. 0 and 1 start with it.

    Raises:
        ConfigError: `start` is below 1 or `ramp` below 0.
    """

    start: int = 1
    ramp: int = 0

    def __post_init__(self) -> None:
        for name, least in (("start", 1), ("ramp", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{name} of a term is {getattr(self, name)}: choose an epoch number from "
                    f"{least} on"
                )

    def factor(self, epoch: int) -> float:
        """Share of the full weight in `epoch`, from 0 to 1."""
        if epoch < self.start:
            return 0.0
        return min(1.0, (epoch - self.start + 1) / max(self.ramp, 1))


@dataclass(frozen=True)
class Term:
    """One part of a composition.

    Attributes:
        label: its name, with a number if the name occurs again.
        entry: the aligner.
        options: keyword-only arguments of its constructor.
        weight: factor of all it returns; 1 where `weight` is an option of the aligner itself.
        schedule: when it takes part.
    """

    label: str
    entry: Entry[Alignment]
    options: dict[str, Any]
    weight: float
    schedule: Schedule


def parse_terms(given: Sequence[Mapping[str, Any]]) -> list[Term]:
    """The terms that a list of `{name: ..., weight: ..., start: ..., ramp: ..., options}` says.

    Types are the configuration's to check, see `config.component_options`.

    Raises:
        ConfigError: there are none, a name is missing or unknown, or an option is unknown (the
            nearest name is suggested).
    """
    if not given:
        raise ConfigError("alignment 'composed' has no terms: give a list of {name: ..., ...}")
    terms: list[Term] = []
    for values in given:
        if "name" not in values:
            raise ConfigError(
                f"a term of alignment 'composed' has no name: choose from {ALIGNERS.names()}"
            )
        entry = ALIGNERS[values["name"]]
        before = sum(term.entry is entry for term in terms)
        label = f"{entry.name}{before + 1}" if before else entry.name
        terms.append(_parse(label, entry, values))
    return terms


def _parse(label: str, entry: Entry[Alignment], given: Mapping[str, Any]) -> Term:
    options = entry.options()
    for name in given:
        if name not in ("name", *TERM_OPTIONS, *options):
            raise unknown_name(f"option of term '{entry.name}'", name, {**TERM_OPTIONS, **options})
    values = {name: value for name, value in given.items() if name != "name"}
    schedule = Schedule(**{name: values.pop(name) for name in ("start", "ramp") if name in values})
    weight = 1.0 if "weight" in options else values.pop("weight", 1.0)
    return Term(label, entry, values, weight, schedule)
