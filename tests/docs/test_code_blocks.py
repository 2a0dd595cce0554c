"""The documentation is true: its Python runs, its commands run, its links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from crossalign.align import ALIGNERS
from crossalign.cli import main
from crossalign.commands import make_parser
from crossalign.models import BACKBONES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = ["--set", "data.planted_users=150", "--set", "data.planted_items=100"]
SHORT = [*SMALL, "--set", "training.epochs=1"]
TRAINS = ("train", "compare", "search", "controls", "tune")
HOSTED = ("coming-from",)
"""Pages whose Python needs another program; `test_coming_from.py` stands in for it."""
READS_DATA = ("describe", "neighbors", "graph", "probe", "encode")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(
        rf"^```{language}[^\n]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
    )


def commands(page: Path) -> list[list[str]]:
    """Arguments of the `crossalign` lines of a page, without comments."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("crossalign")]


def name(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.parent.name == "docs" and blocks(p, "python") and p.stem not in HOSTED],
    ids=name,
)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, run_page: Callable[..., object]
) -> None:
    """And prints what the comments behind its `print` lines say."""
    run_page(page.stem)


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name)
def test_every_command_of_a_page_is_one_that_the_parser_knows(page: Path) -> None:
    for arguments in commands(page):
        make_parser().parse_args(arguments)


def test_the_commands_of_the_guide_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in commands(ROOT / "docs" / "commands.md"):
        expanded = [
            str(path)
            for word in arguments
            for path in (sorted(ROOT.glob(word)) if word.startswith("presets/") else [word])
        ]
        if (
            arguments[0] in TRAINS or "--mask-modality" in arguments
        ) and "--resume" not in arguments:
            expanded += [*SHORT, "--quiet"]
        elif arguments[0] in READS_DATA and "--run" not in arguments:
            expanded += SMALL
        assert main(expanded) == 0, (arguments, capsys.readouterr().err)


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name == "docs"], ids=name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+\.(?:md|svg))", page.read_text()):
        assert (page.parent / target).is_file(), target


def test_the_pages_of_components_have_the_options_of_all_of_them() -> None:
    hooks = runpy.run_path(str(ROOT / "docs" / "hooks.py"))
    for registry, page in ((BACKBONES, "backbones.md"), (ALIGNERS, "losses.md")):
        text = (ROOT / "docs" / page).read_text()
        kind = registry.kind
        assert f"<!-- options: {kind} others -->" in text, f"docs/{page} lacks option tables"
        site = hooks["on_page_markdown"](text)
        for component in registry.names():
            assert site.count(f"\n### {component}\n") == 1
            for option in registry[component].options():
                assert f"| `{option}` |" in site
