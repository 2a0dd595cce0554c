"""Regressed neighbours against plain least squares, and how far content is believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from crossalign.datasets import Dataset, planted
from crossalign.errors import ConfigError
from crossalign.graphs import NeighborOptions, Regression, content_trust, regressed_neighbors
from crossalign.graphs.neighbor_search import make_neighbors, write_neighbors
from crossalign.graphs.neighbors import load_neighbors
from crossalign.graphs.resumable import Work
from crossalign.references.ease import ease_weights
from crossalign.references.inputs import history_matrix


@pytest.fixture(scope="module")
def world() -> Dataset:
    return planted(n_users=150, n_items=60, seed=3)


def shuffled(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """Rows of content that belong to other items."""
    order = torch.randperm(data.n_items, generator=torch.Generator().manual_seed(1))
    moved = {name: data.features[name][order] for name in names}
    return replace(data, features={**data.features, **moved})


def by_ease(data: Dataset, regression: Regression) -> Tensor:
    """Weights of all items for each item, `(n_items, n_items)`, by EASE's dense inverse."""
    trust = content_trust(data)
    content = torch.cat(
        [
            torch.nn.functional.normalize(data.features[name]) * trust[name] ** 0.5
            for name in data.features
        ],
        dim=1,
    )
    weights = ease_weights(
        history_matrix(data),
        regression.ridge,
        content=content.numpy(),
        content_weight=regression.content_weight,
    )
    return torch.from_numpy(weights).T


def test_with_all_items_as_candidates_it_is_ease(world):
    """The closed form with a dense inverse, column by column."""
    regression = Regression(candidates=world.n_items, ridge=20.0, content_weight=5.0)
    found = regressed_neighbors(world, 8, regression)
    expected = by_ease(world, regression).topk(8)
    there = expected.values > 0
    assert torch.equal(found.ids >= 0, there)
    torch.testing.assert_close(found.scores[there], expected.values[there], rtol=2e-4, atol=1e-6)
    same = (found.ids == expected.indices)[there].float().mean()
    assert same > 0.99  # but for ties


def test_blocks_change_nothing(world):
    whole = regressed_neighbors(world, 5)
    blocks = regressed_neighbors(world, 5, how=Work(memory_mib=1))
    assert torch.equal(whole.ids, blocks.ids)
    torch.testing.assert_close(whole.scores, blocks.scores)


def test_lists_are_sorted_and_counts_are_common_users(world):
    found = regressed_neighbors(world, 10)
    assert (found.scores.diff(dim=1) <= 0).all()
    assert ((found.ids >= 0) == (found.scores > 0)).all()
    assert (found.ids != torch.arange(world.n_items)[:, None]).all()
    users = [set(world.train[0][world.train[1] == i].tolist()) for i in range(world.n_items)]
    for item, (ids, counts) in enumerate(zip(found.ids, found.counts, strict=True)):
        common = [len(users[item] & users[j]) if j >= 0 else 0 for j in ids.tolist()]
        assert counts.tolist() == common


def test_content_is_believed_as_far_as_feedback_confirms_it():
    """The planted preference lies in one modality of each item, never in shuffled rows."""
    data = planted(n_users=400, n_items=300, seed=3)
    given = content_trust(data)
    assert all(0.2 < trust < 1 for trust in given.values())
    lost = content_trust(shuffled(data, ("image",)))
    assert lost["image"] < 0.05
    assert lost["text"] == pytest.approx(given["text"], rel=0.1)


def test_an_item_without_feedback_gets_neighbours_by_content(world):
    item = 7
    train = world.train[:, world.train[1] != item]
    cold = replace(world, train=train)
    found = regressed_neighbors(cold, 5)
    assert (found.ids[item] >= 0).all()
    assert (found.counts[item] == 0).all()
    silent = regressed_neighbors(cold, 5, Regression(content_weight=0.0))
    assert (silent.ids[item] < 0).all()


def test_without_content_it_is_regression_on_feedback_alone(world):
    plain = replace(world, features={}, missing={}, truth=None)
    found = regressed_neighbors(plain, 5)
    same = regressed_neighbors(world, 5, Regression(content_weight=0.0))
    assert torch.equal(found.ids, same.ids)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"candidates": 0}, "candidates of regressed neighbours must be at least 1: 0"),
        ({"ridge": 0.0}, "ridge of regressed neighbours must be positive"),
        ({"content_weight": -1.0}, "content_weight of regressed neighbours must be at least 0"),
        ({"ridge": float("nan")}, "ridge of regressed neighbours must be positive"),
    ],
)
def test_options_out_of_range_are_refused(world, options, said):
    with pytest.raises(ConfigError, match=said):
        regressed_neighbors(world, 5, Regression(**options))


def test_a_file_knows_what_its_neighbours_are_neighbours_by(world, tmp_path):
    """An alignment that asks for others refuses it, unless told."""
    file = tmp_path / "near.npz"
    made = write_neighbors(file, NeighborOptions(by="regression"), world)
    assert load_neighbors(file).metadata["by"] == "regression"
    with np.load(file) as stored:
        assert np.array_equal(stored["scores"], made.scores)
    options = NeighborOptions(file=str(file))
    assert torch.equal(make_neighbors(options, world, by="regression").ids, made.ids)
    with pytest.raises(ConfigError, match="by=regression, not cooccurrence"):
        make_neighbors(NeighborOptions(file=str(file), by="cooccurrence"), world)


def test_search_by_faiss_is_refused(world):
    with pytest.raises(ConfigError, match=r"neighbors\.search=faiss finds common users alone"):
        make_neighbors(NeighborOptions(by="regression", search="faiss"), world)
