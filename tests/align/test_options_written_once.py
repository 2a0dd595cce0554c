"""An option is documented in one place; who shares it inherits it."""

from __future__ import annotations

import inspect
import sys
from collections import defaultdict

from crossalign.align import ALIGNERS
from crossalign.registry import argument_help


def documented() -> dict[tuple[str, str], set[str]]:
    """(option, text) -> classes whose own docstring says so: of all aligners, and what they are
    made of."""
    classes = {
        cls
        for name in ALIGNERS.names()
        for cls in ALIGNERS[name].cls.__mro__
        if cls.__module__.startswith("crossalign.")
    }
    modules = {cls.__module__ for cls in classes}
    found = defaultdict(set)
    for module in sorted(modules):
        for cls in vars(sys.modules[module]).values():
            if inspect.isclass(cls) and cls.__module__.startswith("crossalign.align"):
                own = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
                for option, text in argument_help(own).items():
                    found[option, text].add(cls.__qualname__)
    return found


def test_no_option_is_documented_twice() -> None:
    """The same name with the same text in two docstrings is one option written twice."""
    assert [
        (option, sorted(who)) for (option, _), who in documented().items() if len(who) > 1
    ] == []


def test_the_options_that_are_shared_are_seen() -> None:
    """Else the test above would hold of nothing."""
    found = {option: who for (option, _), who in documented().items()}
    assert found["spread_decay"] == {"DirectionOptions"}
    assert found["n_prototypes"] == {"ClusterOptions"}
    assert found["learn_temperatures"] == {"FETTLE"}
