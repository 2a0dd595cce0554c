"""Runs of earlier versions, which kept the rows of tables as the file has them, go on as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from crossalign.cli import main
from crossalign.datasets import DataOptions, load_dataset
from crossalign.errors import RunError
from crossalign.pipeline import load_run

USERS, ITEMS = 20, 15


def rows(seed: int = 0) -> list[tuple[int, int, int, str]]:
    """User, item, time and label of a table in no order, with ties in time."""
    rng = np.random.default_rng(seed)
    found = []
    for user in range(USERS):
        labels = ["test", "valid", *["train"] * 6]
        items = rng.choice(ITEMS, 8, replace=False)
        found += [
            (user, int(i), int(rng.integers(3)), x) for i, x in zip(items, labels, strict=True)
        ]
    return [found[n] for n in rng.permutation(len(found))]


def table(folder: Path, header: str = "user,item,time") -> None:
    lines = [",".join(map(str, row[: header.count(",") + 1])) for row in rows()]
    (folder / "interactions.csv").write_text("\n".join([header, *lines]) + "\n")


def mmrec(folder: Path) -> None:
    label = {"train": 0, "valid": 1, "test": 2}
    lines = [f"{u}\t{i}\t{label[x]}" for u, i, _, x in rows()]
    (folder / "x.inter").write_text("\n".join(["userID\titemID\tx_label", *lines]) + "\n")


LAYOUTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "random": (table, "random"),
    "ties": (table, "chronological"),
    "split column": (lambda folder: table(folder, "user,item,time,split"), "auto"),
    "mmrec": (mmrec, "auto"),
    "mmrec, random": (mmrec, "random"),
}


@pytest.fixture(params=LAYOUTS)
def old_run(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with data `d` and a run `r`, whose files are those of an earlier version."""
    write, split = LAYOUTS[request.param]
    (tmp_path / "d").mkdir()
    write(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    settings = ["training.epochs=2", "backbone.dim=4", f"data.split={split}", "data.row_order=file"]
    sets = [part for one in settings for part in ("--set", one)]
    assert main(["train", "d", "--backbone", "bpr", *sets, "--quiet", "--out", "r"]) == 0
    config = tmp_path / "r" / "config.yaml"
    plain = config.read_text().replace("  row_order: file\n", "")
    assert plain != config.read_text()
    config.write_text(plain)
    return tmp_path


def test_it_is_evaluated_on_what_it_held_out(
    old_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = json.loads((old_run / "r/metrics.json").read_text())["test"]
    capsys.readouterr()
    assert main(["evaluate", "r"]) == 0
    assert f"{recorded['recall@5']:.4f}" in capsys.readouterr().out
    config, dataset, _ = load_run("r")
    assert config.data.row_order == "file"
    given = [(int(u), int(i)) for u, i in dataset.train.T]
    listed = [(u, i) for u, i, *_ in rows() if (u, i) in given]
    assert given == listed
    assert main(["export", "r", "--out", "s"]) == 0


def test_it_goes_on_as_it_would_have(old_run: Path) -> None:
    """Its epochs draw from the rows in their former order."""
    settings = ["--set", "training.epochs=4", "--quiet"]
    assert main(["train", "--resume", "r", *settings]) == 0
    assert main(["train", "--config", "r/config.yaml", "--quiet", "--out", "whole"]) == 0
    whole, resumed = ((old_run / name / "history.jsonl").read_bytes() for name in ("whole", "r"))
    assert resumed == whole


def test_other_data_are_refused_all_the_same(old_run: Path) -> None:
    [file] = (old_run / "d").iterdir()
    lines = file.read_text().splitlines()
    in_turn = [lines[0], *lines[:0:-1]]  # the order counted when it was trained
    file.write_text("\n".join(in_turn) + "\n")
    with pytest.raises(RunError, match="other data"):
        load_run("r")


def test_the_order_of_the_file_is_read_when_asked_for(tmp_path: Path) -> None:
    table(tmp_path)
    data = load_dataset(tmp_path, options=DataOptions(row_order="file", hold_out=False))
    assert data.train.T.tolist() == [[u, i] for u, i, *_ in rows()]
    usual = load_dataset(tmp_path, options=DataOptions(hold_out=False))
    assert usual.train.T.tolist() == sorted(data.train.T.tolist())
    assert not torch.equal(usual.train, data.train)
