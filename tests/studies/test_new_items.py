"""New items are ranked alone and among all, by each way that places them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from crossalign.cli import main
from crossalign.evaluation.scores import block_scorer
from crossalign.studies.new_items import OnlyItems
from crossalign.tensors.representations import Representations

SMALL = [
    "--set", "data.planted_users=300", "--set", "data.planted_items=200",
    "--set", "training.epochs=3", "--set", "evaluation.ks=[20]", "--quiet",
]  # fmt: skip
NEW = ("--set", "data.split=new_items")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BPR, which knows no content, and FREEDOM, which places items by it."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("bpr", "freedom"):
        out = str(folder / name)
        assert main(["train", "planted", "--backbone", name, *SMALL, *NEW, "--out", out]) == 0
    return folder


def test_every_way_of_placing_is_measured(runs, tmp_path, capsys) -> None:
    out = tmp_path / "new"
    folders = [str(runs / "bpr"), str(runs / "freedom")]
    assert main(["new-items", *folders, "--quiet", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "items that were never trained on" in shown
    assert all(name in shown for name in ("bpr ", "freedom ", "contentknn ")), "names are whole"
    found = json.loads((out / "new_items.json").read_text())
    ways = {(way["method"], way["placed"]): way for way in found["ways"]}
    assert set(ways) == {
        ("bpr", "as trained"), ("bpr", "content map"),
        ("freedom", "as trained"), ("freedom", "content map"), ("contentknn", "content"),
    }  # fmt: skip
    for way in ways.values():
        for metric in found["metrics"]:
            assert way["alone"][metric]["mean"] >= way["mixed"][metric]["mean"]
    assert ways["bpr", "content map"]["alone"] != ways["bpr", "as trained"]["alone"]


def test_runs_that_knew_the_items_are_refused(runs, tmp_path, capsys) -> None:
    known = tmp_path / "known"
    assert main(["train", "planted", "--backbone", "bpr", *SMALL, "--out", str(known)]) == 0
    capsys.readouterr()
    assert main(["new-items", str(known), "--quiet", "--out", str(tmp_path / "new")]) == 2
    assert "trained on items that it is tested on" in capsys.readouterr().err


def test_only_some_items_are_ranked() -> None:
    model = Representations(torch.ones(2, 3), torch.arange(12.0).view(4, 3))
    allowed = torch.tensor([True, False, True, False])
    scorer, whole = OnlyItems(model, allowed), block_scorer(model)
    found, expected = torch.empty(2, 4), torch.empty(2, 4)
    scorer(torch.arange(2), found)
    whole(torch.arange(2), expected)
    assert torch.equal(found[:, allowed], expected[:, allowed])
    assert (found[:, ~allowed] < expected.min()).all()
    assert found.isfinite().all()
