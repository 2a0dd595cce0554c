"""The registry refuses duplicates, suggests names and reads options from constructors."""

from __future__ import annotations

import pytest

from crossalign.errors import ConfigError
from crossalign.registry import Registry, argument_help


class Widget:
    """A thing.

    Args:
        data: not an option.
        size: how large,
            in metres.
        colour: what it looks like.
    """

    def __init__(self, data: object, *, size: int = 3, colour: str = "red") -> None:
        self.size, self.colour = size, colour


@pytest.fixture
def registry() -> Registry[Widget]:
    registry: Registry[Widget] = Registry("widget")
    registry.register("plain", paper="none")(Widget)
    return registry


def test_keyword_only_arguments_are_the_options(registry: Registry[Widget]) -> None:
    options = registry["plain"].options()
    assert {name: option.default for name, option in options.items()} == {
        "size": 3,
        "colour": "red",
    }
    assert options["size"].help == "how large, in metres."
    assert registry["plain"].summary == "A thing."


def test_a_name_cannot_be_taken_twice(registry: Registry[Widget]) -> None:
    with pytest.raises(ValueError, match="already registered"):
        registry.register("plain", paper="none")(Widget)


def test_an_option_must_have_a_default(registry: Registry[Widget]) -> None:
    class Demanding(Widget):
        def __init__(self, data: object, *, size: int) -> None:
            super().__init__(data, size=size)

    with pytest.raises(ValueError, match="widget 'demanding': give option 'size' a default"):
        registry.register("demanding", paper="none")(Demanding)
    assert "demanding" not in registry


def test_an_unknown_name_suggests_the_nearest(registry: Registry[Widget]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'plain'"):
        registry["plane"]


def test_a_docstring_without_arguments_gives_no_help() -> None:
    assert argument_help("Only a line.") == {}
