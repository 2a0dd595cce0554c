"""Propagation over sampled blocks: equal to the whole graph's with all neighbours, unbiased with
some; edges left out are left out; draws follow the seed and not the number of threads."""

import pytest
import torch

from crossalign.graphs import BipartitePropagation
from crossalign.graphs.blocks import EDGE, REVERSE, BlockSampler
from crossalign.graphs.dgl_import import dgl

N_USERS, N_ITEMS, DIM = 30, 20, 5


def pairs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Every fourth pair or so; user 3 and item 7 have none."""
    rng = torch.Generator().manual_seed(seed)
    users, items = (torch.rand(N_USERS, N_ITEMS, generator=rng) < 0.25).nonzero(as_tuple=True)
    kept = (users != 3) & (items != 7)
    order = torch.randperm(int(kept.sum()), generator=rng)
    return users[kept][order], items[kept][order]


def graph_of(users: torch.Tensor, items: torch.Tensor):
    counts = {"user": N_USERS, "item": N_ITEMS}
    return dgl.heterograph({EDGE: (users, items), REVERSE: (items, users)}, num_nodes_dict=counts)


def tables() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    user, item = torch.randn(N_USERS, DIM, generator=rng), torch.randn(N_ITEMS, DIM, generator=rng)
    return user.double().requires_grad_(), item.double().requires_grad_()


def loop_reference(users, items, user, item, n_layers, *, left_out=()):
    """Mean of the layers, edge by edge, with the degrees of all edges."""
    user_degree = torch.bincount(users, minlength=N_USERS).double() + 1e-7
    item_degree = torch.bincount(items, minlength=N_ITEMS).double() + 1e-7
    total, layer = [user, item], [user, item]
    for _ in range(n_layers):
        next_user, next_item = torch.zeros_like(user), torch.zeros_like(item)
        for edge, (u, i) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
            if edge not in left_out:
                value = (user_degree[u] * item_degree[i]) ** -0.5
                next_user[u] += value * layer[1][i].detach()
                next_item[i] += value * layer[0][u].detach()
        layer = [next_user, next_item]
        total = [sum_ + more for sum_, more in zip(total, layer, strict=True)]
    return [sum_ / (n_layers + 1) for sum_ in total]


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_all_neighbours_give_the_whole_graphs_rows_and_gradients(n_layers):
    users, items = pairs()
    sampler = BlockSampler(graph_of(users, items), [-1] * n_layers)
    seed_users, seed_items = torch.tensor([0, 3, 4, 29]), torch.tensor([1, 7, 19])
    view = sampler.view(seed_users, seed_items)
    assert torch.equal(view.seed_users, seed_users)
    assert torch.equal(view.seed_items, seed_items)

    user, item = tables()
    ours = view.propagation(user[view.users], item[view.items], n_layers)
    whole = BipartitePropagation.from_edges(users, items, N_USERS, N_ITEMS)(user, item, n_layers)
    theirs = whole[0][seed_users], whole[1][seed_items]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    weights = [torch.randn_like(rows) for rows in ours]
    gradients = [
        torch.autograd.grad(sum((r * w).sum() for r, w in zip(rows, weights, strict=True)), t)
        for rows in (ours, theirs)
        for t in [(user, item)]
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("excluded", [False, True])
def test_the_mean_of_many_draws_is_the_whole_graphs(excluded):
    """3 and 2 neighbours of each node, of 5 or more: 2 layers, with and without edges left out."""
    users, items = pairs()
    sampler = BlockSampler(graph_of(users, items), [3, 2])
    left_out = torch.arange(0, len(users), 4) if excluded else None
    everyone, everything = torch.arange(N_USERS), torch.arange(N_ITEMS)
    user, item = (table.detach() for table in tables())
    draws = []
    for _ in range(200):
        view = sampler.view(everyone, everything, left_out)
        draws.append(torch.cat(view.propagation(user[view.users], item[view.items], 2)))
    stacked = torch.stack(draws)
    known = () if left_out is None else set(left_out.tolist())
    expected = torch.cat(loop_reference(users, items, user, item, 2, left_out=known))
    deviation = (stacked.mean(0) - expected).abs()
    standard = stacked.std(0) / len(draws) ** 0.5
    assert stacked.std(0).max() > 0.1, "nothing was sampled"
    assert (deviation <= 5 * standard + 1e-9).all()


def test_edges_left_out_carry_no_message_either_way():
    users, items = pairs()
    sampler = BlockSampler(graph_of(users, items), [-1, -1])
    left_out = torch.tensor([0, 5, 17])
    view = sampler.view(torch.arange(N_USERS), torch.arange(N_ITEMS), left_out)
    user, item = (table.detach() for table in tables())
    ours = view.propagation(user[view.users], item[view.items], 2)
    expected = loop_reference(users, items, user, item, 2, left_out={0, 5, 17})
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_edges_that_were_not_kept_are_as_if_they_did_not_exist():
    """FREEDOM's epochs: degrees are those of the kept edges, some of which are left out."""
    users, items = pairs()
    kept = torch.randperm(len(users), generator=torch.Generator().manual_seed(5))[: len(users) // 2]
    sampler = BlockSampler(graph_of(users, items), [-1, -1])
    sampler.draw_from(kept)
    others = torch.arange(len(users))[~torch.isin(torch.arange(len(users)), kept)]
    left_out = torch.cat((kept[:4], others[:3]))
    view = sampler.view(torch.arange(N_USERS), torch.arange(N_ITEMS), left_out)
    user, item = (table.detach() for table in tables())
    ours = view.propagation(user[view.users], item[view.items], 2)
    expected = loop_reference(users[kept], items[kept], user, item, 2, left_out={0, 1, 2, 3})
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_graphs_between_items_that_were_not_given_are_missed():
    view = BlockSampler(graph_of(*pairs()), [2]).view(torch.tensor([0]), torch.tensor([0]))
    with pytest.raises(ValueError, match="no graph between items was sampled"):
        view.propagation.similar(torch.zeros(1, 2))


def test_fanouts_go_outward():
    """Two neighbours of each seed, then one of each of those; the seeds' own count again."""
    users, items = pairs()
    view = BlockSampler(graph_of(users, items), [2, 1]).view(
        torch.tensor([0]), torch.tensor([], dtype=torch.int64)
    )
    wide, narrow = view.propagation.layers
    assert len(narrow.to_user.indices) == 2
    assert len(wide.to_user.indices) == 1
    assert len(wide.to_item.indices) == 2


@pytest.mark.parametrize("exclude", [True, False])
def test_loader_gives_every_edge_once_in_order(exclude):
    """And the view of each batch, without its edges: user 0 keeps its other items alone."""
    users, items = pairs()
    order = torch.randperm(len(users), generator=torch.Generator().manual_seed(2))
    sampler = BlockSampler(graph_of(users, items), [-1], exclude=exclude)

    def seeds(edges):
        return users[edges].unique(), items[edges].unique()

    seen = []
    for edges, view in sampler.load(order, 16, seeds):
        seen.append(edges)
        assert torch.equal(view.seed_users, users[edges].unique())
        (layer,) = view.propagation.layers
        for position, user in enumerate(view.seed_users.tolist()):
            own = (users == user).nonzero().squeeze(1)
            kept = own[~torch.isin(own, edges)] if exclude else own
            first, last = layer.to_user.indptr[position : position + 2].tolist()
            counted = layer.to_user.weights[first:last] != 0
            read = view.items[layer.to_user.indices[first:last][counted]]
            assert torch.equal(read.sort().values, items[kept].sort().values)
    assert [len(edges) for edges in seen] == [16] * (len(users) // 16) + [len(users) % 16]
    assert torch.equal(torch.cat(seen), order)


def test_draws_follow_the_seed_and_not_the_threads():
    users, items = pairs()
    sampler = BlockSampler(graph_of(users, items), [2, 2])
    nodes = torch.arange(N_USERS), torch.arange(N_ITEMS)
    user, item = (table.detach() for table in tables())

    def draw(seed: int) -> torch.Tensor:
        sampler.draw_from(seed=seed)
        view = sampler.view(*nodes)
        return torch.cat(view.propagation(user[view.users], item[view.items], 2))

    threads, drawn = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            drawn.append(draw(4))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*drawn)
    assert not torch.equal(draw(5), drawn[0])


def test_wrong_number_of_layers_is_refused():
    view = BlockSampler(graph_of(*pairs()), [2]).view(torch.tensor([0]), torch.tensor([0]))
    with pytest.raises(ValueError, match="1 layers were sampled, not 2"):
        view.propagation(torch.zeros(1, 2), torch.zeros(1, 2), 2)
