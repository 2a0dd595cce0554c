"""The plan of the house: which way imports go, and how many parameters a function may have."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import crossalign
from crossalign import run_files

ROOT = Path(crossalign.__file__).parent
MOST_PARAMETERS = 7
WITHOUT_ALIGNMENT = ("tensors", "datasets", "graphs", "evaluation", "encoders")
"""Rooms that know nothing of alignment."""
OF_COMPONENTS = ("align", "models")
"""Rooms whose constructors take options."""
ALIGNMENT_OF_MODELS = {"align.bm3"}
"""What backbones read of `align`: the losses that their papers share with it."""


def _rooms() -> list[Path]:
    """Folders of the package; tests, examples and documentation read it and are not read."""
    outside = {"tests", "docs", "examples"}
    return [f.parent for f in ROOT.glob("*/__init__.py") if f.parent.name not in outside]


FILES = sorted([*ROOT.glob("*.py"), *(file for room in _rooms() for file in room.rglob("*.py"))])


def _name(file: Path) -> str:
    """Dotted name within the package; empty for the package itself."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {_name(file): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
PACKAGES = {_name(file) for file in FILES if file.name == "__init__.py"}


def _imported(module: str) -> Iterator[str]:
    """Modules of the package that `module` imports: anywhere, under TYPE_CHECKING too."""
    own = module.split(".") if module else []
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            full = [a.name.split(".")[1:] for a in node.names if a.name.startswith("crossalign.")]
            yield from (".".join(parts) for parts in full)
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            if node.level:
                up = node.level - (module in PACKAGES)
                parts = own[: len(own) - up] + parts
            elif parts[0] == "crossalign":
                parts = parts[1:]
            else:
                continue
            for alias in node.names:
                inner = ".".join([*parts, alias.name])
                yield inner if inner in TREES else ".".join(parts)


ARROWS = {module: {other for other in _imported(module) if other != module} for module in TREES}


def _circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """The names on one circle, in order; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        found = (walk(other, [*path, name]) for other in sorted(arrows.get(name, ())))
        circle = next((circle for circle in found if circle), [])
        done.add(name)
        return circle

    circles = (walk(name, []) for name in sorted(arrows))
    return next((circle for circle in circles if circle), [])


def test_every_import_of_the_package_is_seen() -> None:
    """Else the tests below would hold of nothing."""
    assert "tensors.functional" in set().union(*ARROWS.values())
    assert all(other in TREES for others in ARROWS.values() for other in others)
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_no_circle_between_modules() -> None:
    assert _circle(ARROWS) == []


def test_no_circle_between_rooms() -> None:
    """A module of the root is a room of its own."""
    rooms: dict[str, set[str]] = {}
    for module, others in ARROWS.items():
        room = module.partition(".")[0]
        rooms.setdefault(room, set()).update(o.partition(".")[0] for o in others)
        rooms[room].discard(room)
    assert _circle(rooms) == []


def _of_align(room: str) -> set[str]:
    """What the modules of a room import from `align`."""
    inside = [others for module, others in ARROWS.items() if module.partition(".")[0] == room]
    return {other for others in inside for other in others if other.partition(".")[0] == "align"}


@pytest.mark.parametrize("room", WITHOUT_ALIGNMENT)
def test_rooms_below_alignment_do_not_import_it(room: str) -> None:
    assert _of_align(room) == set()


def test_backbones_import_only_alignment_from_align() -> None:
    assert _of_align("models") <= ALIGNMENT_OF_MODELS


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many there are, without the object that a method belongs to."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return len(named) + len(starred) - bool(named and named[0].arg in ("self", "cls"))


def test_functions_have_few_parameters() -> None:
    """Constructors of components may have more: they are their options."""
    long = {
        f"{module}:{node.name}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not (node.name == "__init__" and module.startswith(OF_COMPONENTS))
        and _parameters(node) > MOST_PARAMETERS
    }
    assert not long


def test_files_of_a_run_are_named_in_one_place() -> None:
    """As text in code, that is; documentation may name them."""
    names = {value for key, value in vars(run_files).items() if key.endswith("_FILE")}
    assert "metrics.json" in names
    written = {
        f"{module}: {node.value}"
        for module, tree in TREES.items()
        if module != "run_files"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert written == set()
