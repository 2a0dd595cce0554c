"""SGL: the port's numbers in float64, the authors' rule against a loop, and the draws."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity, logsigmoid

from crossalign.errors import ConfigError
from crossalign.graphs.edge_draws import weighted_draw
from crossalign.models.sgl import SGL

RTOL, ATOL = 1e-9, 1e-12


PARAMETERS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
}


@pytest.fixture
def numbers(golden):
    return golden("sgl")


@pytest.fixture
def make(numbers, golden_data, build):
    """`make(**options)`, with the recorded parameters."""

    def make(**options):
        backbone = build(SGL, golden_data(), dim=16, n_layers=2, **options)
        numbers.fill(backbone, PARAMETERS)
        return backbone

    return make


def recorded(backbone: SGL, numbers) -> tuple:
    return tuple(backbone.view(numbers[f"graph/view{n}_edges"]) for n in (1, 2))


def dense_tables(backbone: SGL, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Users over items, propagated by a dense matrix."""
    n_users, n_items = backbone.n_nodes
    matrix = torch.zeros(n_users + n_items, n_users + n_items, dtype=torch.float64)
    matrix[users, items + n_users] = 1
    matrix = matrix + matrix.T
    scale = (matrix.sum(1) + 1e-7).rsqrt()
    matrix = scale[:, None] * matrix * scale
    layer = torch.cat([backbone.user_embedding, backbone.item_embedding])
    layers = [layer, matrix @ layer, matrix @ (matrix @ layer)]
    return torch.stack(layers).mean(0)


@pytest.mark.golden("backbones", "sgl")
def test_the_ports_losses_gradients_and_scores(case) -> None:
    """The port's eps is not in the files: 1e-9 in all of them."""
    hparams = case.hparams
    weight = hparams["reg_weight"]
    backbone = case.build(
        SGL,
        dim=hparams["embedding_size"],
        n_layers=hparams["n_ui_layers"],
        reg_weight=weight,
        temperature=hparams["temperature"],
        view1_dropout=hparams["view1_drop"],
        view2_dropout=hparams["view2_drop"],
        eps=1e-9,
    )
    case.fill(backbone, PARAMETERS)
    views = recorded(backbone, case)
    backbone.current_views = lambda: views
    contrasts = {name: (name, weight) for name in ("cl_user", "cl_item")}
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, {"bpr": ("bpr", 1.0), **contrasts})


def test_without_eps_the_blocked_contrast_is_the_same_to_the_size_of_eps(numbers, make) -> None:
    results = []
    for eps in (0.0, 1e-9):
        backbone = make(reg_weight=0.1, eps=eps)
        views = recorded(backbone, numbers)
        backbone.current_views = lambda views=views: views
        sum(backbone.loss(numbers.batch, backbone()).values()).backward()
        results.append(backbone.item_embedding.grad)
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-9)
    assert not torch.equal(*results)


def test_the_authors_rule_equals_a_loop_over_the_batch(numbers, make) -> None:
    backbone = make(views="epoch", reg_weight=0.3, l2_weight=0.02, view2_dropout=0.1)
    backbone.epoch_view1, backbone.epoch_view2 = recorded(backbone, numbers)
    batch = numbers.batch
    terms = backbone.loss(batch, backbone())
    assert set(terms) == {"bpr", "cl_user", "cl_item", "l2"}
    sum(terms.values()).backward()
    ours = [p.grad.clone() for p in backbone.parameters()]
    backbone.zero_grad()

    n_users = backbone.n_nodes[0]
    edges = [[numbers[f"graph/view{n}_{side}"] for side in ("users", "items")] for n in (1, 2)]
    full = dense_tables(backbone, backbone.edge_users, backbone.edge_items)
    first, second = (dense_tables(backbone, *pair) for pair in edges)
    loss = {"bpr": 0, "cl_user": 0, "cl_item": 0, "l2": 0}
    for user, positive, negative in zip(*(ids.tolist() for ids in batch), strict=True):
        nodes = (user, n_users + positive, n_users + negative)
        u, p, n = (full[node] for node in nodes)
        loss["bpr"] -= logsigmoid(u @ p - u @ n)
        ego = torch.cat([backbone.user_embedding, backbone.item_embedding])[list(nodes)]
        loss["l2"] += 0.02 * ego.square().sum() / 2
        for name, node, everyone in (
            ("cl_user", nodes[0], second[:n_users]),
            ("cl_item", nodes[1], second[n_users:]),
        ):
            masses = (cosine_similarity(first[node][None], everyone) / 0.2).exp()
            own = (cosine_similarity(first[node], second[node], dim=0) / 0.2).exp()
            loss[name] -= 0.3 * (own / masses.sum()).log()
    for name, value in loss.items():
        torch.testing.assert_close(terms[name], value / len(batch.users), rtol=RTOL, atol=ATOL)
    (sum(loss.values()) / len(batch.users)).backward()
    for mine, parameter in zip(ours, backbone.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=RTOL, atol=ATOL)


def test_epoch_views_come_from_the_epochs_generator_and_stay(numbers, make) -> None:
    backbone = make(views="epoch")
    draws = []
    for seed in (0, 0, 1):
        backbone.begin_epoch(torch.Generator().manual_seed(seed))
        first, second = backbone.current_views()
        assert backbone.current_views()[0] is first
        draws.append(first.to_user(torch.eye(first.to_user.n_src)))
        assert len(first.to_user.indices) == len(numbers["graph/view1_edges"])
        assert len(second.to_user.indices) == len(numbers["graph/view2_edges"])
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_batch_views_are_new_for_each_batch_and_repeat_with_the_seed(numbers, make) -> None:
    backbone = make()
    draws = []
    for seed in (0, 0, None):
        if seed is not None:
            torch.manual_seed(seed)
        first, second = backbone.current_views()
        draws.append(first.to_user(torch.eye(first.to_user.n_src)))
        assert len(first.to_user.indices) == len(numbers["graph/view1_edges"])
        assert len(second.to_user.indices) == len(numbers["graph/view2_edges"])
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_batch_views_prefer_edges_between_unpopular_nodes(numbers, make) -> None:
    backbone = make(view1_dropout=0.5)
    popular = backbone.edge_scale > backbone.edge_scale.median()
    torch.manual_seed(0)
    kept = torch.zeros(len(popular))
    n = backbone._n_kept(0.5)
    for _ in range(200):
        kept[weighted_draw(backbone.edge_scale, n)] += 1
    assert kept[popular].mean() < 0.9 * kept[~popular].mean()


def test_eps_is_refused_where_all_nodes_are_candidates(make) -> None:
    with pytest.raises(ConfigError, match="eps"):
        make(views="epoch", eps=1e-9)
