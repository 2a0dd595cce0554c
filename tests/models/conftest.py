"""Published implementations' numbers, a data set with a known answer, and backbones on both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crossalign.config import component_options
from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import BACKBONES, Backbone, Batch
from crossalign.training import seed_everything

FOLDER = Path(__file__).parents[1] / "golden" / "backbones"
RTOL, ATOL = 1e-9, 1e-12

Names = Mapping[str | tuple[str, ...], str]
"""Our parameter -> its published name; several of ours may be stacked in a published one."""


def read(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


@dataclass(frozen=True)
class Golden:
    """What one published implementation gave in float64 for one batch."""

    arrays: dict[str, np.ndarray]

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    @property
    def batch(self) -> Batch:
        return Batch(self["batch_users"], self["batch_pos"], self["batch_neg"])

    def equals(self, ours: Tensor, key: str, factor: float = 1.0) -> None:
        """`ours` is `factor` times the recorded tensor."""
        torch.testing.assert_close(
            ours.detach(), factor * self[key], rtol=RTOL, atol=ATOL, msg=lambda m: f"{key}: {m}"
        )

    def fill(self, backbone: Backbone, names: Names) -> None:
        """Copy the recorded parameters; `names` must hold all that the backbone has."""
        ours = [parts if isinstance(parts, tuple) else (parts,) for parts in names]
        assert set(dict(backbone.named_parameters())) == {name for parts in ours for name in parts}
        with torch.no_grad():
            for parts, theirs in zip(ours, names.values(), strict=True):
                tables = [backbone.get_parameter(name) for name in parts]
                recorded = self[f"param/{theirs}"].split([len(table) for table in tables])
                for table, value in zip(tables, recorded, strict=True):
                    table.copy_(value)

    def check_step(
        self, backbone: Backbone, names: Names, terms: Mapping[str, tuple[str, float]]
    ) -> None:
        """The batch's loss, in total and by `terms`: ours -> (recorded name, weight); gradients."""
        found = backbone.loss(self.batch, backbone())
        total = torch.stack(list(found.values())).sum()
        total.backward()
        self.equals(total, "loss/total")
        assert set(found) == set(terms)
        for term, (recorded, weight) in terms.items():
            self.equals(found[term], f"loss/{recorded}", weight)
        self.check_gradients(backbone, names)

    def check_gradients(self, backbone: Backbone, names: Names, prefix: str = "") -> None:
        """Every gradient; a parameter that has none there must have none here."""
        for ours, theirs in names.items():
            parts = ours if isinstance(ours, tuple) else (ours,)
            gradients = [backbone.get_parameter(part).grad for part in parts]
            key = f"{prefix}grad/{theirs}"
            assert (gradients[0] is None) == (key not in self.arrays), key
            if gradients[0] is not None:
                self.equals(torch.cat(gradients), key)

    def check_representations(self, backbone: Backbone, prefix: str = "") -> None:
        """Scores and representations while evaluating."""
        user, item = backbone.eval()()
        self.equals(user @ item.T, "scores")
        self.equals(user, f"{prefix}user_repr")
        self.equals(item, f"{prefix}item_repr")


def data_with(*names: str) -> Dataset:
    data = read("dataset")
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
    """`golden(name)`: the recorded numbers of one file."""
    return lambda name: Golden(read(name))


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
