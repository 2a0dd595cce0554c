"""Lists of co-occurring nodes, and the mean content of users."""

from __future__ import annotations

import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import build_graph
from crossalign.graphs.interests import mean_content
from crossalign.graphs.neighbor_lists import NeighborLists
from crossalign.models.mixed_graphs import cooccurrence_lists

LISTS = NeighborLists(
    torch.tensor([[3, 1, -1], [2, -1, -1], [-1, -1, -1]]),
    torch.tensor([[5, 2, 0], [1, 0, 0], [0, 0, 0]]),
)


def test_padding_repeats_what_a_list_has_and_leaves_empty_ones() -> None:
    padded = LISTS.padded(torch.Generator().manual_seed(0))
    assert set(padded.ids[0].tolist()) == {1, 3}
    assert padded.ids[1].tolist() == [2, 2, 2]
    assert padded.ids[2].tolist() == [-1, -1, -1]
    counts = {3: 5, 1: 2}
    assert padded.counts[0].tolist() == [counts[i] for i in padded.ids[0].tolist()]


def test_shares_are_a_softmax_over_the_entries_there_are() -> None:
    rows, cols, values = LISTS.shares()
    assert (rows.tolist(), cols.tolist()) == ([0, 0, 1], [3, 1, 2])
    of_counts = torch.tensor([5.0, 2.0], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(values, torch.cat([of_counts, torch.ones(1, dtype=torch.float64)]))


def test_who_shares_nothing_gets_the_most_popular() -> None:
    """Item 3 is alone with its user; items 1 and 0 have two users and one."""
    train = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 3]])
    held_out = torch.tensor([[0], [3]])
    data = Dataset("lonely", 3, 4, train, held_out, held_out, {})
    graph = build_graph(data, relations=("interacts", "cooccurs"))
    assert NeighborLists.from_graph(graph, "item", 2).ids[3].tolist() == [-1, -1]
    lists = cooccurrence_lists(graph, "item", 2)
    assert lists.ids.tolist() == [[1, -1], [0, 2], [1, -1], [1, 0]]
    torch.testing.assert_close(lists.counts[3], torch.tensor([2 / 3, 1 / 3]).double())
    with pytest.raises(ConfigError, match="user_cooccurs"):
        NeighborLists.from_graph(graph, "user", 2)


def test_a_user_is_the_mean_of_the_items_that_have_content() -> None:
    users, items = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 2])
    features = torch.tensor([[1.0, 3.0], [3.0, 5.0], [0.0, 0.0]])
    mean = mean_content(users, items, 3, features)
    assert torch.equal(mean, torch.tensor([[2.0, 4.0], [0.0, 0.0], [0.0, 0.0]]))
