"""Rows of graphs between items, cut out for a few items: equal to the whole product's, values and
gradients, whatever is at hand already."""

import pytest
import torch

from crossalign.graphs import Adjacency
from crossalign.graphs.item_blocks import ItemHops

N_ITEMS, DIM = 25, 3
SEEDS = torch.tensor([2, 9, 11, 24])


def knn(k: int, seed: int, *, lonely: int) -> Adjacency:
    """`k` neighbours of each item, but none of `lonely`; values follow the degrees."""
    rng = torch.Generator().manual_seed(seed)
    items = torch.arange(N_ITEMS).repeat_interleave(k)
    neighbors = torch.cat([torch.randperm(N_ITEMS, generator=rng)[:k] for _ in range(N_ITEMS)])
    kept = items != lonely
    return Adjacency.from_edges(neighbors[kept], items[kept], N_ITEMS, N_ITEMS, norm="dst_both")


GRAPHS = [(0.3, knn(2, 0, lonely=9)), (0.7, knn(3, 1, lonely=2))]


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
@pytest.mark.parametrize("at_hand", [SEEDS, torch.cat((SEEDS, torch.tensor([20, 3, 0])))])
def test_rows_and_gradients_are_those_of_the_whole_product(n_layers, at_hand):
    table = torch.randn(N_ITEMS, DIM, dtype=torch.float64, requires_grad=True)
    items, layers = ItemHops(GRAPHS, n_layers).around(SEEDS, at_hand)
    ours = layers(table[items])
    whole = table
    for _ in range(n_layers):
        whole = sum(weight * graph(whole) for weight, graph in GRAPHS)
    torch.testing.assert_close(ours, whole[SEEDS], rtol=1e-9, atol=1e-12)
    weight = torch.randn_like(ours)
    gradients = [torch.autograd.grad((rows * weight).sum(), table) for rows in (ours, whole[SEEDS])]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_only_what_is_needed_is_read():
    """The items at hand, and the neighbours of the seeds, once each."""
    at_hand = torch.cat((SEEDS, torch.tensor([20])))
    items, _ = ItemHops(GRAPHS, 1).around(SEEDS, at_hand)
    whole = torch.stack([graph(torch.eye(graph.n_src)) for _, graph in GRAPHS]).sum(0)
    neighbors = set(whole[SEEDS].any(0).nonzero().flatten().tolist())
    assert torch.equal(items[: len(at_hand)], at_hand)
    assert len(items.unique()) == len(items) < N_ITEMS
    assert set(items.tolist()) == neighbors | set(at_hand.tolist())
