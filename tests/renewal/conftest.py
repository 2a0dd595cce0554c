"""Two weeks of a small shop: the second has new rows, new users and new items among old ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossalign.cli import main
from crossalign.datasets import Dataset
from crossalign.datasets.planted import planted

NEW_USERS, NEW_ITEMS = 20, 15


def write_log(folder: Path, rows: pd.DataFrame, world: Dataset) -> Path:
    """A data folder with these rows and the content of every item in them."""
    folder.mkdir()
    rows.to_csv(folder / "interactions.csv", index=False)
    items = np.unique(rows["item"].to_numpy(dtype=str))
    for name, table in world.features.items():
        numbers = [int(item[1:]) for item in items]
        np.savez(folder / f"{name}_feat.npz", ids=items, features=table[numbers].numpy())
    return folder


@pytest.fixture(scope="session")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `one` and `two`, logs of a planted world split by time, and a run on `one`."""
    folder = tmp_path_factory.mktemp("weeks")
    world = planted(150, 90, seed=3)
    pairs = np.concatenate([world.split(s).numpy() for s in ("train", "valid", "test")], axis=1)
    rng = np.random.default_rng(0)
    pairs = pairs[:, rng.permutation(pairs.shape[1])]
    time = np.arange(pairs.shape[1])
    # Ids sort otherwise than by week, so that every row of a table moves.
    rows = pd.DataFrame({"user": pairs[0], "item": pairs[1], "time": time})
    late = (rows["user"] % 7 == 0) & (rows["user"] < 7 * NEW_USERS)
    late |= (rows["item"] % 6 == 0) & (rows["item"] < 6 * NEW_ITEMS)
    late |= (time > 0.8 * len(time)) & (rows["user"] % 3 != 0).to_numpy()
    rows.loc[late, "time"] += len(time)
    rows["user"] = "u" + rows["user"].astype(str)
    rows["item"] = "i" + rows["item"].astype(str)
    write_log(folder / "one", rows[~late], world)
    write_log(folder / "two", rows, world)
    train(folder / "one", folder / "run")
    return folder


OPTIONS = (
    "data.split=chronological",
    "training.epochs=3",
    "training.learning_rate=0.01",
    "backbone.dim=8",
)


def train(data: Path | str, out: Path, *more: str, backbone: str = "lightgcn") -> None:
    """Train briefly on `data` by the command line."""
    sets = [part for option in OPTIONS for part in ("--set", option)]
    command = ["train", str(data), "--out", str(out), "--backbone", backbone, "--quiet"]
    assert main([*command, *sets, *more]) == 0


@pytest.fixture
def train_briefly() -> Callable[..., None]:
    """`train`, for tests that make runs of their own."""
    return train
