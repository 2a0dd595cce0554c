"""Generated large graphs: exact size, seeded, skewed, and with communities that mean something."""

from __future__ import annotations

import pytest
import torch

from crossalign.benchmarks.powerlaw import powerlaw
from crossalign.errors import ConfigError
from crossalign.graphs import Similarity, cooccurrence_neighbors


@pytest.fixture(scope="module")
def data():
    return powerlaw(3000, 1000, 20_000, n_communities=10)


@pytest.mark.parametrize("size", [(3000, 1000, 20_000), (5, 4, 5), (40, 30, 300), (1, 9, 1)])
def test_exactly_as_many_distinct_pairs_as_asked_for(size):
    n_users, n_items, n = size
    pairs = powerlaw(*size).pairs
    assert pairs.shape == (2, n)
    assert pairs.dtype == torch.int64
    key = pairs[0] * n_items + pairs[1]
    assert torch.equal(key, key.unique())  # sorted and distinct
    assert ((pairs >= 0) & (pairs < torch.tensor([[n_users], [n_items]]))).all()


def test_the_seed_decides(data):
    again = powerlaw(3000, 1000, 20_000, n_communities=10)
    other = powerlaw(3000, 1000, 20_000, n_communities=10, seed=1)
    assert torch.equal(data.pairs, again.pairs)
    assert torch.equal(data.item_community, again.item_community)
    assert not torch.equal(data.pairs, other.pairs)


@pytest.mark.parametrize("side", [0, 1])
def test_degrees_have_a_long_tail(data, side):
    degree = torch.bincount(data.pairs[side]).sort(descending=True).values.float()
    busiest = degree[: len(degree) // 10].sum() / degree.sum()
    assert 0.25 < busiest < 0.75  # a tenth would be even
    assert degree.max() > 10 * degree.median()


def test_ids_say_nothing_about_popularity(data):
    degree = torch.bincount(data.pairs[1], minlength=1000).float()
    assert 0.8 < degree[:500].sum() / degree[500:].sum() < 1.25


def test_neighbours_are_of_the_same_community(data):
    ids = cooccurrence_neighbors(data.pairs, 3000, 1000, 5, similarity=Similarity("cosine", 2)).ids
    item, place = torch.nonzero(ids >= 0, as_tuple=True)
    same = data.item_community[item] == data.item_community[ids[item, place]]
    assert same.double().mean() > 0.6  # by chance a tenth
    shuffled = powerlaw(3000, 1000, 20_000, n_communities=10, community_share=0.0)
    user, bought = shuffled.pairs
    near = shuffled.user_community[user] == shuffled.item_community[bought]
    assert near.double().mean() < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_interactions": 0}, "n_interactions must be between 1"),
        ({"n_interactions": 51}, "n_interactions must be between 1"),
        ({"n_communities": 0}, "n_communities must be in"),
        ({"community_share": 1.5}, "community_share in 0"),
    ],
)
def test_impossible_graphs_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        powerlaw(**{"n_users": 20, "n_items": 10, "n_interactions": 10, **options})
