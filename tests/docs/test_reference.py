"""The pages written from the code say what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from crossalign.align import ALIGNERS
from crossalign.config import option_help
from crossalign.models import BACKBONES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return dict(runpy.run_path(str(DOCS / "write_reference.py"))["pages"]())


@pytest.mark.parametrize("name", ["options.md", "reference.md"])
def test_a_page_is_in_step_with_the_code(pages: dict[str, str], name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == pages[name], "run: python docs/write_reference.py"


def test_every_option_and_component_has_its_row(pages: dict[str, str]) -> None:
    text = pages["options.md"]
    for option in option_help():
        name = option.key.partition(" [")[0].rpartition(".")[2]
        assert f"| `{name}` | `{option.default}` |" in text, option.key
    for registry in (BACKBONES, ALIGNERS):
        for name in registry.names():
            assert f"| `{name}` | " in text


def test_the_interface_has_parameters_and_words_of_every_entry(pages: dict[str, str]) -> None:
    text = pages["reference.md"]
    listed = [line[4:] for line in (DOCS / "api.md").read_text().splitlines() if line[:4] == "::: "]
    assert listed
    for path in listed:
        assert f"\n### {path}\n" in text
    assert "\nload_dataset(path, *, options=" in text
    assert "\n    Read the data set at `path`." in text
