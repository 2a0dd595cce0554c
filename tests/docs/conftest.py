"""Pages of the documentation as programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from crossalign.align import ALIGNERS
from crossalign.models import BACKBONES

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r'^```python(?: title="(\w+)/\w+\.py")?\n(.*?)^```', re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^( *)print\((.*)\)  # (.+)$", re.MULTILINE)


def section(page: Path, heading: str | None) -> str:
    """A page, or what stands below one of its headings."""
    text = page.read_text()
    if heading is None:
        return text
    (found,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return found


def shown(value: object, text: str) -> None:
    """What a line prints is what its comment says; numbers may differ in the last digit."""
    try:
        number = float(text)
    except ValueError:
        assert str(value) == text
        return
    digits = len(text.partition(".")[2])
    assert float(value) == pytest.approx(number, abs=1.5 * 10.0**-digits), text  # type: ignore[arg-type]


@pytest.fixture
def restored_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page registers is gone afterwards."""
    for registry in (ALIGNERS, BACKBONES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.fixture
def run_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored_registries: None
) -> Callable[..., dict[str, Any]]:
    """`run_page(name, heading)`: run the Python of a page, or of a section, and return its names.

    A block with a title is a file of the package, from which its relative imports start.
    """

    def run(name: str, heading: str | None = None, **given: Any) -> dict[str, Any]:
        page = DOCS / f"{name}.md"
        module = ModuleType("docs_" + name.replace("-", "_"))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.chdir(tmp_path)
        vars(module).update(given, shown=shown)
        for room, code in BLOCK.findall(section(page, heading)):
            module.__package__ = f"crossalign.{room}" if room else None
            checked = SHOWN.sub(r"\1shown(\2, '\3')", code)
            exec(compile(checked, str(page), "exec"), vars(module))
        return vars(module)

    return run
