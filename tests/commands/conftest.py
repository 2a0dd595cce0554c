"""A finished run with all that can come of it, to do harm to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_folders import refusal

from crossalign.cli import main

CONFIG = """
backbone: {name: bpr, dim: 8}
training: {epochs: 1}
data: {planted_users: 60, planted_items: 40}
"""
"""`c.yaml` of `place`."""


@pytest.fixture(scope="session")
def train_small() -> Callable[..., None]:
    """Trains BPR on a data folder: `train_small(data, out, "training.epochs=3", ...)`."""

    def train(data: str | Path, out: str | Path, *settings: str) -> None:
        settings = ("backbone.dim=8", "training.batch_size=128", *settings)
        sets = [part for one in settings for part in ("--set", one)]
        line = ["train", str(data), "--backbone", "bpr", *sets, "--quiet", "--out", str(out)]
        assert main(line) == 0

    return train


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, train_small: Callable[..., None]) -> Path:
    """A folder with data `d`, a run `r`, an export `s`, and neighbours `n.npz` and `near`."""
    folder = tmp_path_factory.mktemp("finished")
    rng, data = np.random.default_rng(0), folder / "d"
    data.mkdir()
    rows = [f"{u},{i}" for u in range(30) for i in sorted(rng.choice(20, 8, replace=False))]
    (data / "interactions.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    train_small(data, folder / "r", "training.learning_rate=0.02", "training.epochs=3")
    assert main(["export", str(folder / "r"), "--out", str(folder / "s")]) == 0
    for name in ("n.npz", "near"):
        assert main(["neighbors", str(data), "-o", str(folder / name), "--quiet"]) == 0
    (folder / "c.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `finished`, as the working folder."""
    place = tmp_path / "x"
    shutil.copytree(finished, place)
    monkeypatch.chdir(place)
    config = place / "r" / "config.yaml"
    config.write_text(config.read_text().replace(str(finished / "d"), "d"))
    return place


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """The one line in which a command, given as a line, is refused."""
    return lambda command: refusal(command.split(), capsys)
