"""Published implementations' numbers, a data set with a known answer, and backbones on both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_vectors import BUNDLED, GoldenCase

from crossalign.config import component_options
from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import BACKBONES, Backbone
from crossalign.training import seed_everything


def data_with(*names: str) -> Dataset:
    with np.load(BUNDLED / "backbones" / "dataset.npz") as file:
        data = dict(file)
    rng = torch.Generator().manual_seed(0)
    n_users, n_items = int(data["n_users"]), int(data["n_items"])
    tables = {m: torch.from_numpy(data[f"{m}_features"]) for m in ("image", "text")}
    tables |= {m: torch.randn(n_items, 5, generator=rng) for m in ("audio", "video")}
    splits = {s: torch.from_numpy(data[s].T.copy()) for s in ("train", "valid", "test")}
    features = {name: tables[name] for name in names}
    return Dataset("golden", n_users, n_items, **splits, features=features)


def in_double(
    cls: type[Backbone], data: Dataset, graph: GraphOptions | None = None, **options: object
) -> Backbone:
    torch.manual_seed(0)
    features = {name: table.double() for name, table in data.features.items()}
    return cls(build_graph(data, graph, relations=cls.relations), features, **options).double()


@pytest.fixture(scope="session")
def golden():
    """`golden(name)`: the numbers of one backbone that come with the tests."""
    return lambda name: GoldenCase(BUNDLED / "backbones" / f"{name}.npz")


@pytest.fixture(scope="session")
def golden_data():
    """`golden_data(*modalities)`: their data set; `audio` and `video` are noise of our own."""
    return data_with


@pytest.fixture(scope="session")
def build():
    """`build(cls, data, graph_options, **options)`: a backbone in float64, always the same."""
    return in_double


@pytest.fixture(scope="session")
def checkerboard() -> Dataset:
    """Users like the items of their own parity; each lacks one for validation and one for test."""
    n_users, n_items = 24, 20
    train, valid, test = [], [], []
    for user in range(n_users):
        liked = [item for item in range(n_items) if item % 2 == user % 2]
        first, second = user % len(liked), (user + 1) % len(liked)
        valid.append((user, liked[first]))
        test.append((user, liked[second]))
        train += [(user, i) for place, i in enumerate(liked) if place not in (first, second)]
    parity = torch.arange(n_items) % 2
    noise = torch.randn(n_items, 6, generator=torch.Generator().manual_seed(0))
    features = {"shape": noise + 2 * parity[:, None], "sound": noise[:, :4] - parity[:, None]}
    splits = [torch.tensor(rows).T.contiguous() for rows in (train, valid, test)]
    return Dataset("checkerboard", n_users, n_items, *splits, features=features)


def of_width_16(name: str, data: Dataset, **options: object) -> Backbone:
    entry = BACKBONES[name]
    graph = build_graph(data, GraphOptions(knn_k=5), relations=entry.cls.relations)
    values = component_options("backbone", entry, {"dim": 16, **options})
    seed_everything(0)
    return entry.cls(graph, data.features, **values)


@pytest.fixture(scope="session")
def registered():
    """`registered(name, data, **options)`: a backbone by its name, as a configuration makes it."""
    return of_width_16
