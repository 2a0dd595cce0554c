"""SGL: the port's numbers in float64, the authors' rule against a loop, and the draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, logsigmoid

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import GraphOptions, build_graph
from crossalign.graphs.sampling import weighted_draw
from crossalign.models import Batch
from crossalign.models.sgl import SGL

GOLDEN = Path(__file__).parents[1] / "golden" / "backbones"
RTOL, ATOL = 1e-9, 1e-12


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "sgl.npz") as file:
        return dict(file)


def make(golden: dict[str, np.ndarray], **options: object) -> SGL:
    train = torch.from_numpy(np.stack([golden["train_users"], golden["train_items"]]))
    n_users, n_items = int(golden["n_users"]), int(golden["n_items"])
    data = Dataset("golden", n_users, n_items, train, train[:, :1], train[:, :1], {})
    graph = build_graph(data, GraphOptions(), relations=SGL.relations)
    backbone = SGL(graph, {}, dim=16, n_layers=2, **options).double()
    names = {"user_embedding": "user_embedding", "item_embedding": "item_id_embedding"}
    with torch.no_grad():
        for ours, theirs in names.items():
            value = torch.from_numpy(golden[f"param/{theirs}.weight"])
            backbone.get_parameter(ours).copy_(value)
    return backbone


def batch_of(golden: dict[str, np.ndarray]) -> Batch:
    return Batch(*(torch.from_numpy(golden[f"batch_{k}"]) for k in ("users", "pos", "neg")))


def recorded(backbone: SGL, golden: dict[str, np.ndarray]) -> tuple:
    return tuple(backbone.view(torch.from_numpy(golden[f"graph/view{n}_edges"])) for n in (1, 2))


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


def test_the_ports_losses_gradients_and_scores(golden: dict[str, np.ndarray]) -> None:
    backbone = make(golden, reg_weight=0.1, eps=1e-9)
    views = recorded(backbone, golden)
    backbone.current_views = lambda: views
    terms = backbone.loss(batch_of(golden), backbone())
    total = sum(terms.values())
    total.backward()
    assert set(terms) == {"bpr", "cl_user", "cl_item"}
    np.testing.assert_allclose(terms["bpr"].item(), golden["loss/bpr"], rtol=RTOL)
    for name in ("cl_user", "cl_item"):
        np.testing.assert_allclose(terms[name].item(), 0.1 * golden[f"loss/{name}"], rtol=RTOL)
    np.testing.assert_allclose(total.item(), golden["loss/total"], rtol=RTOL)
    for ours, theirs in (("user", "user_embedding"), ("item", "item_id_embedding")):
        gradient = backbone.get_parameter(f"{ours}_embedding").grad.numpy()
        expected = golden[f"grad/{theirs}.weight"]
        np.testing.assert_allclose(gradient, expected, rtol=RTOL, atol=ATOL, err_msg=ours)
    backbone.eval()
    user, item = (table.detach() for table in backbone())
    np.testing.assert_allclose((user @ item.T).numpy(), golden["scores"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(item.numpy(), golden["item_repr"], rtol=RTOL, atol=ATOL)


def test_without_eps_the_blocked_contrast_is_the_same_to_the_size_of_eps(
    golden: dict[str, np.ndarray],
) -> None:
    results = []
    for eps in (0.0, 1e-9):
        backbone = make(golden, reg_weight=0.1, eps=eps)
        views = recorded(backbone, golden)
        backbone.current_views = lambda views=views: views
        sum(backbone.loss(batch_of(golden), backbone()).values()).backward()
        results.append(backbone.item_embedding.grad)
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-9)
    assert not torch.equal(*results)


def test_the_authors_rule_equals_a_loop_over_the_batch(golden: dict[str, np.ndarray]) -> None:
    backbone = make(golden, views="epoch", reg_weight=0.3, l2_weight=0.02, view2_dropout=0.1)
    backbone.epoch_view1, backbone.epoch_view2 = recorded(backbone, golden)
    batch = batch_of(golden)
    terms = backbone.loss(batch, backbone())
    assert set(terms) == {"bpr", "cl_user", "cl_item", "l2"}
    sum(terms.values()).backward()
    ours = [p.grad.clone() for p in backbone.parameters()]
    backbone.zero_grad()

    n_users = backbone.n_nodes[0]
    edges = [
        [torch.from_numpy(golden[f"graph/view{n}_{side}"]) for side in ("users", "items")]
        for n in (1, 2)
    ]
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


def test_epoch_views_come_from_the_epochs_generator_and_stay(golden: dict[str, np.ndarray]) -> None:
    backbone = make(golden, views="epoch")
    draws = []
    for seed in (0, 0, 1):
        backbone.begin_epoch(torch.Generator().manual_seed(seed))
        first, second = backbone.current_views()
        assert backbone.current_views()[0] is first
        draws.append(first.to_user.to_coo().to_dense())
        assert len(first.to_user.indices) == len(golden["graph/view1_edges"])
        assert len(second.to_user.indices) == len(golden["graph/view2_edges"])
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_batch_views_are_new_for_each_batch_and_repeat_with_the_seed(
    golden: dict[str, np.ndarray],
) -> None:
    backbone = make(golden)
    draws = []
    for seed in (0, 0, None):
        if seed is not None:
            torch.manual_seed(seed)
        first, second = backbone.current_views()
        draws.append(first.to_user.to_coo().to_dense())
        assert len(first.to_user.indices) == len(golden["graph/view1_edges"])
        assert len(second.to_user.indices) == len(golden["graph/view2_edges"])
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_batch_views_prefer_edges_between_unpopular_nodes(golden: dict[str, np.ndarray]) -> None:
    backbone = make(golden, view1_dropout=0.5)
    popular = backbone.edge_scale > backbone.edge_scale.median()
    torch.manual_seed(0)
    kept = torch.zeros(len(popular))
    n = backbone._n_kept(0.5)
    for _ in range(200):
        kept[weighted_draw(backbone.edge_scale, n)] += 1
    assert kept[popular].mean() < 0.9 * kept[~popular].mean()


def test_eps_is_refused_where_all_nodes_are_candidates(golden: dict[str, np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="eps"):
        make(golden, views="epoch", eps=1e-9)
