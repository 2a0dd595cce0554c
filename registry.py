"""Named components whose options are the keyword arguments of their constructors.

A backbone or an aligner is registered with one decorator; its keyword-only arguments, their types
and defaults, and the lines of its docstring's `Args:` section are what the configuration and
`--help` show. Standard library only, so that `align/` can be lifted out together with this file.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .errors import unknown_name

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """One keyword argument of a component."""

    name: str
    type: Any
    default: Any
    help: str


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered component."""

    name: str
    cls: type[T]
    paper: str

    @property
    def summary(self) -> str:
        """First line of the class docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    def options(self) -> dict[str, Option]:
        """The keyword-only arguments of the constructor, in order; help may be inherited."""
        help_of: dict[str, str] = {}
        for cls in reversed(self.cls.__mro__):  # options that are inherited are documented once
            help_of |= argument_help(inspect.cleandoc(cls.__dict__.get("__doc__") or ""))
        found = [
            Option(name, _hint(self.cls, parameter), parameter.default, help_of.get(name, ""))
            for name, parameter in inspect.signature(self.cls).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        if has_fields(self.cls):  # its own options first, then those it inherits
            written = [name for cls in self.cls.__mro__ for name in inspect.get_annotations(cls)]
            found.sort(key=lambda option: written.index(option.name))
        return {option.name: option for option in found}


class Registry(Generic[T]):
    """Components of one kind, by name. Refuses duplicates; suggests the nearest name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, paper: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that makes the class available as `name`.

        Raises:
            ValueError: `name` is taken, or an option has no default.
        """

        def add(cls: type[T]) -> type[T]:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is already registered")
            for option in inspect.signature(cls.__init__).parameters.values():
                keyword = option.kind is inspect.Parameter.KEYWORD_ONLY
                if keyword and option.default is inspect.Parameter.empty:
                    raise ValueError(f"{self.kind} '{name}': give option '{option.name}' a default")
            self._entries[name] = Entry(name, cls, paper)
            return cls

        return add

    def __getitem__(self, name: str) -> Entry[T]:
        """The entry called `name`. Raises `ConfigError` with the nearest name if unknown."""
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._entries)


def has_fields(cls: type) -> bool:
    """Whether the constructor of `cls`, its own or inherited, is that of a dataclass."""
    makes = next(c for c in cls.__mro__ if "__init__" in vars(c))
    return "__dataclass_fields__" in vars(makes)


def _hint(cls: type, parameter: inspect.Parameter) -> Any:
    """Type of a constructor's argument; of a dataclass it stands where the field was written."""
    owners = (c for c in cls.__mro__ if parameter.name in inspect.get_annotations(c))
    owner: Any = next(owners, cls) if has_fields(cls) else cls
    written = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    init: Any = cls.__init__  # type: ignore[misc]
    scope = {**vars(sys.modules[owner.__module__]), **getattr(init, "__globals__", {})}
    return typing.get_type_hints(written, scope, include_extras=True).get(parameter.name, Any)


def argument_help(docstring: str) -> dict[str, str]:
    """`{argument: text}` from the `Args:` section of a Google-style docstring."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if section is None:
        return {}
    entries = re.split(r"^ {4}(?=\w+:)", section[1], flags=re.MULTILINE)[1:]
    pairs = (entry.partition(":") for entry in entries)
    return {name.strip(): " ".join(text.split()) for name, _, text in pairs}
