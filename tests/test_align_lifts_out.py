"""`align/` depends on torch alone, so that it can be lifted into any project."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import crossalign.align

FOLDER = Path(crossalign.align.__file__).parent
ALLOWED_RELATIVE = {"registry", "errors", "tensors"}


def imported_modules(file: Path) -> set[str]:
    """Top-level names of absolute imports, and first names of imports from the parent package."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == 2:
            names.add(f"..{(node.module or '').partition('.')[0]}")
    return names


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_alignment_imports_only_torch_and_the_standard_library(file: Path) -> None:
    import sys

    allowed = {"torch", *sys.stdlib_module_names, *(f"..{name}" for name in ALLOWED_RELATIVE)}
    assert imported_modules(file) <= allowed
