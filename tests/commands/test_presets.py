"""Settings of own parts: inherited from the preset of their base, and what defaults give up."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossalign.align import ALIGNERS, CROSS
from crossalign.commands.presets import Presets, remarks
from crossalign.errors import ConfigError
from crossalign.models import BACKBONES, LightGCN

CROSS_FILE = """
backbone: {name: lightgcn, n_layers: 3}
alignment: {name: cross, cna_weight: 0.5, ila_weight: 0.25}
training: {learning_rate: 1.0e-3, patience: 7}
"""


@pytest.fixture(autouse=True)
def own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone and an alignment that inherit, registered for one test."""
    for registry in (BACKBONES, ALIGNERS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    @BACKBONES.register("my_gcn", paper="ours")
    class MyGCN(LightGCN):
        """LightGCN without a choice of layers."""

        def __init__(self, graph, features, *, dim: int = 64) -> None:
            super().__init__(graph, features, dim=dim)

    @ALIGNERS.register("my_cross", paper="ours")
    class MyCross(CROSS):
        """CROSS by another name."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fast = "training: {learning_rate: 5.0e-3}\n"
    (tmp_path / "lightgcn.yaml").write_text("backbone: {name: lightgcn, n_layers: 2}\n" + fast)
    (tmp_path / "lightgcn_cross.yaml").write_text(CROSS_FILE)
    return tmp_path


def cells(folder: Path, *pairs: tuple[str, str], defaults: bool = False) -> list:
    presets = Presets(str(folder), defaults, (), ())
    return [presets.cell("planted", *pair) for pair in pairs]


def test_an_own_alignment_inherits_the_preset_of_its_base(folder: Path) -> None:
    """Learning rate, patience, weights and the backbone's options are those of CROSS."""
    (cell,) = cells(folder, ("lightgcn", "my_cross"))
    config = cell.config
    assert config.alignment.name == "my_cross"
    assert config.alignment.options["cna_weight"] == 0.5
    assert config.backbone.options["n_layers"] == 3
    assert (config.training.learning_rate, config.training.patience) == (1e-3, 7)
    assert "lightgcn_cross.yaml" in " ".join(remarks([cell]))


def test_an_own_backbone_inherits_what_it_takes(folder: Path) -> None:
    """An option that it does not have stays behind."""
    alone, aligned = cells(folder, ("my_gcn", "none"), ("my_gcn", "my_cross"))
    assert alone.config.training.learning_rate == 5e-3
    assert alone.config.backbone.options == {"dim": 64}
    assert alone.config.alignment is None
    assert aligned.config.alignment.options["ila_weight"] == 0.25


def test_an_own_preset_comes_first(folder: Path) -> None:
    (folder / "lightgcn_my_cross.yaml").write_text(
        "backbone: lightgcn\nalignment: {name: my_cross, cna_weight: 0.125}\n"
    )
    (cell,) = cells(folder, ("lightgcn", "my_cross"))
    assert cell.config.alignment.options["cna_weight"] == 0.125
    assert remarks([cell]) == []


def test_what_has_no_base_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--defaults"):
        cells(folder, ("bpr", "none"))


def test_defaults_say_what_they_give_up(folder: Path) -> None:
    """The learning rate that the others had from their presets, by name and value."""
    found = cells(folder, ("lightgcn", "none"), ("bpr", "none"), defaults=True)
    lines = remarks(found)
    assert max(map(len, lines)) <= 80
    text = " ".join(lines)
    assert text.startswith("bpr has no preset: it takes the defaults, and gives up ")
    assert "training.learning_rate 0.005 (lightgcn), here 0.003" in text


def test_defaults_of_a_pair_keep_the_preset_of_the_backbone(folder: Path) -> None:
    (cell,) = cells(folder, ("lightgcn", "bm3"), defaults=True)
    assert cell.config.training.learning_rate == 5e-3
    assert "lightgcn.yaml, and the defaults of bm3" in " ".join(remarks([cell]))
