"""The page on parts of one's own project: its file does what it says, and its commands run."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import crossalign
from crossalign.align import ALIGNERS
from crossalign.cli import main
from crossalign.own_parts import import_installed, import_parts

PAGE = (Path(crossalign.__file__).parent / "docs" / "own-parts.md").read_text(encoding="utf-8")
SMALL = ["--set", "data.planted_users=150", "--set", "data.planted_items=100", "--quiet"]
PRESET = """
backbone: {name: lightgcn, dim: 8}
alignment: {name: cross, n_prototypes: 8}
training: {epochs: 1, learning_rate: 3.0e-3}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's file, in which the commands are typed."""
    monkeypatch.setattr(ALIGNERS, "_entries", dict(ALIGNERS._entries))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("my_parts", None)
    (tmp_path / "my_parts.py").write_text(blocks("python")[0])
    yield tmp_path
    sys.modules.pop("my_parts", None)
    import_installed.cache_clear()


def test_the_alignment_of_the_page_says_half_of_cross(project: Path) -> None:
    import_parts("my_parts.py")
    draw = torch.Generator().manual_seed(0)
    tables = [torch.randn(n, 8, generator=draw) for n in (9, 7)]
    content = {"image": torch.randn(7, 8, generator=draw)}
    neighbors = torch.randint(0, 7, (7, 2), generator=draw)
    pairs = torch.tensor([0, 3, 5]), torch.tensor([1, 2, 6])
    terms = {}
    for name in ("cross", "halved"):
        torch.manual_seed(1)
        made = ALIGNERS[name].cls(8, ("image",), neighbors=neighbors, n_prototypes=4)
        terms[name] = made.terms(*tables, content, *pairs)
    assert set(terms["cross"]) == set(terms["halved"])
    assert any(term.item() for term in terms["cross"].values())
    for name, term in terms["cross"].items():
        torch.testing.assert_close(terms["halved"][name], term / 2)


def test_the_commands_of_the_page_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in blocks("console")[0].splitlines():
        arguments = shlex.split(line)[1:]
        trains = arguments[0] == "train" and "--resume" not in arguments
        extra = [*SMALL, "--set", "training.epochs=1", "--set", "alignment.n_prototypes=8"]
        assert main([*arguments, *(extra if trains else [])]) == 0, (line, capsys.readouterr().err)
    assert (project / "halved-shop").is_dir()


def test_the_comparison_of_the_page_inherits_the_preset(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On built-in data, with a preset of CROSS and of LightGCN that are quick."""
    (project / "presets").mkdir()
    (project / "presets" / "lightgcn_cross.yaml").write_text(PRESET)
    alone = PRESET.replace("{name: cross, n_prototypes: 8}", "none")
    (project / "presets" / "lightgcn.yaml").write_text(alone)
    arguments = shlex.split(blocks("console")[1])[1:]
    arguments[arguments.index("baby")] = "planted"
    assert main([*arguments, "--seeds", "0", *SMALL]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "lightgcn+halved takes the settings of presets/lightgcn_cross.yaml" in printed
    assert "vs lightgcn+cross" in printed
    config = project / "runs" / "mine" / "lightgcn+halved" / "seed0" / "config.yaml"
    assert "learning_rate: 0.003" in config.read_text()
