"""A small planted data set, whole and in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.datasets.planted import planted
from crossalign.distributed.partition import PartitionOptions, partition
from crossalign.graphs.cooccurrence import cooccurrence_neighbors


@pytest.fixture(scope="session")
def world() -> Dataset:
    """60 users and 40 items with original ids; three items lack their text."""
    data = planted(60, 40, seed=0)
    missing = torch.zeros(40, dtype=torch.bool)
    missing[[3, 11, 29]] = True
    text = data.features["text"].masked_fill(missing[:, None], 0.0)
    return replace(
        data,
        features={**data.features, "text": text},
        missing={"text": missing},
        user_ids=np.array([f"u{n}" for n in range(60)]),
        item_ids=np.array([f"i{n}" for n in range(40)]),
    )


@pytest.fixture(scope="session")
def neighbors(world: Dataset) -> torch.Tensor:
    return cooccurrence_neighbors(world.train, world.n_users, world.n_items, 4).ids


@pytest.fixture(scope="session")
def one_part(world: Dataset, neighbors: torch.Tensor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "parts"
    partition(world, folder, PartitionOptions(1), neighbors=neighbors)
    return folder


@pytest.fixture(scope="session")
def two_parts(world: Dataset, neighbors: torch.Tensor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "parts"
    partition(world, folder, PartitionOptions(2, "random"), neighbors=neighbors)
    return folder
