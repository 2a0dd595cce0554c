"""The picture of the floors is true: each room imports only what is drawn below it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import crossalign

ROOT = Path(crossalign.__file__).parent
PICTURE = Path(__file__).parents[2] / "docs" / "floors.svg"
NOT_DRAWN = {"__init__", "__main__", "cli"}
"""The doors."""


def floor_of() -> dict[str, int]:
    """Room -> its floor in the picture, from the ground up."""
    lines = re.findall(r'class="rooms"[^>]*>([^<]*)<', PICTURE.read_text())
    return {room: floor for floor, line in enumerate(reversed(lines)) for room in line.split(" · ")}


def imports() -> set[tuple[str, str]]:
    """(room, room that one of its modules imports)."""
    outside = {"tests", "docs", "examples", "build"}
    rooms = [f.parent for f in ROOT.glob("*/__init__.py") if f.parent.name not in outside]
    found = set()
    for file in (*ROOT.glob("*.py"), *(file for room in rooms for file in room.rglob("*.py"))):
        parts = file.relative_to(ROOT).with_suffix("").parts
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == len(parts):
                names = [node.module] if node.module else [alias.name for alias in node.names]
                found |= {(parts[0], name.partition(".")[0]) for name in names}
    return found


def test_every_room_is_drawn() -> None:
    drawn = set(floor_of())
    rooms = {room for room, _ in imports()} - NOT_DRAWN
    assert rooms <= drawn, rooms - drawn
    assert all((ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file() for room in drawn)


def test_imports_go_down() -> None:
    """On the ground itself, modules may know each other."""
    floor = floor_of()
    arrows = {(a, b) for a, b in imports() if a in floor and b in floor and a != b}
    assert ("models", "align") in arrows
    assert [(a, b) for a, b in sorted(arrows) if floor[a] <= floor[b] and floor[a] > 0] == []
