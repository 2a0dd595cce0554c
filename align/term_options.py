"""The terms of a composition as they stand in a configuration, checked with the standard library.

The configuration checks an alignment's own options; what is inside the option `terms` is checked
here, against the constructors of the terms, with the same errors.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from ..errors import ConfigError, unknown_name
from ..registry import Entry
from .base import ALIGNERS, Alignment
from .schedules import Schedule

OWN = {"weight": float, "start": int, "ramp": int}
"""Options that every term has."""


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

    Raises:
        ConfigError: there are none, a name is missing or unknown, or an option is unknown (the
            nearest name is suggested) or of the wrong type.
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
        terms.append(_parse(f"{entry.name}{before + 1}" if before else entry.name, entry, values))
    return terms


def _parse(label: str, entry: Entry[Alignment], given: Mapping[str, Any]) -> Term:
    types_of = {**OWN, **{name: option.type for name, option in entry.options().items()}}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name == "name":
            continue
        if name not in types_of:
            raise unknown_name(f"option of term '{entry.name}'", name, types_of)
        values[name] = checked(value, types_of[name], f"alignment.terms.{label}.{name}")
    schedule = Schedule(**{name: values.pop(name) for name in ("start", "ramp") if name in values})
    weight = 1.0 if "weight" in entry.options() else values.pop("weight", 1.0)
    return Term(label, entry, values, weight, schedule)


def checked(value: Any, wanted: Any, option: str) -> Any:
    """`value` as the type `wanted`: a class, a literal, or a union of them.

    Numbers may be written as text, since YAML takes `1e-3` for text. Types other than numbers,
    text, truth values and literals are left to the component.

    Raises:
        ConfigError: the value does not fit.
    """
    if get_origin(wanted) in (Union, types.UnionType):
        for choice in get_args(wanted):
            try:
                return checked(value, choice, option)
            except ConfigError:
                continue
    elif get_origin(wanted) is Literal:
        if value in get_args(wanted):
            return value
    elif wanted in (int, float):
        number = as_number(value)
        if wanted is float and not math.isnan(number):
            return number
        if wanted is int and number.is_integer():
            return int(number)
    elif wanted not in (bool, str, type(None)) or isinstance(value, wanted):
        return value
    raise ConfigError(f"option '{option}' is {value!r}: it should be {described(wanted)}")


def as_number(value: Any) -> float:
    """The number that a value or its text is; NaN if it is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def described(wanted: Any) -> str:
    """The type in words."""
    if get_origin(wanted) is Literal:
        return " or ".join(map(repr, get_args(wanted)))
    if get_origin(wanted) in (Union, types.UnionType):
        return " or ".join(map(described, get_args(wanted)))
    words = {int: "an integer", float: "a number", bool: "true or false", type(None): "null"}
    return words.get(wanted, "text")
