"""DirectAU against a loop over pairs."""

from __future__ import annotations

import math

import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import Batch
from crossalign.models.directau import DirectAU, uniformity
from crossalign.tensors import functional

N_USERS, N_ITEMS, GAMMA, DECAY = 9, 7, 1.7, 0.3


def make(**options: object) -> DirectAU:
    pairs = torch.tensor([(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if (u + i) % 3]).T
    data = Dataset("toy", N_USERS, N_ITEMS, pairs, pairs[:, :1], pairs[:, :1], {})
    graph = build_graph(data, GraphOptions(), relations=DirectAU.relations)
    torch.manual_seed(0)
    return DirectAU(graph, {}, dim=5, gamma=GAMMA, reg_weight=DECAY, **options).double()


def batch() -> Batch:
    users = torch.tensor([0, 1, 1, 4, 8, 1])  # user 1 and the pair (1, 3) come again
    items = torch.tensor([2, 3, 0, 5, 3, 3])
    return Batch(users, items, torch.full((6,), -1))  # negatives must not be read


def reference_uniformity(rows: list[torch.Tensor]) -> torch.Tensor:
    n = len(rows)
    pairs = [(rows[a] - rows[b]).square().sum() for a in range(n) for b in range(a + 1, n)]
    return torch.stack([(-2 * distance).exp() for distance in pairs]).mean().log()


@pytest.mark.parametrize("encoder", ["mf", "lightgcn"])
@pytest.mark.parametrize("cosine_scores", [False, True])
def test_terms_and_gradients_equal_a_loop(encoder: str, cosine_scores: bool) -> None:
    backbone = make(encoder=encoder, n_layers=2, cosine_scores=cosine_scores)
    terms = backbone.loss(batch(), backbone())
    sum(terms.values()).backward()
    ours = [p.grad.clone() for p in backbone.parameters()]
    backbone.zero_grad()

    user, item = backbone.user_embedding, backbone.item_embedding
    if encoder == "lightgcn":
        to_user = backbone.propagation.to_user
        matrix = to_user(torch.eye(to_user.n_src, dtype=torch.float64))
        user, item = (
            (user + matrix @ item + matrix @ matrix.T @ user) / 3,
            (item + matrix.T @ user + matrix.T @ matrix @ item) / 3,
        )
    users = [user[u] / user[u].norm() for u in batch().users]
    items = [item[i] / item[i].norm() for i in batch().items]
    squares = sum(p.square().sum() for p in backbone.parameters())
    expected = {
        "alignment": sum((u - i).square().sum() for u, i in zip(users, items, strict=True)) / 6,
        "uniformity_user": GAMMA / 2 * reference_uniformity(users),
        "uniformity_item": GAMMA / 2 * reference_uniformity(items),
        "reg": DECAY / 2 * squares,
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-9, atol=1e-12)
    sum(expected.values()).backward()
    for mine, parameter in zip(ours, backbone.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-9, atol=1e-12)


def test_the_regulariser_is_adams_weight_decay() -> None:
    results = []
    for own, adams in ((DECAY, 0.0), (0.0, DECAY)):
        backbone = make()
        backbone.reg_weight = own
        optimizer = torch.optim.Adam(backbone.parameters(), lr=0.1, weight_decay=adams)
        sum(backbone.loss(batch(), backbone()).values()).backward()
        for parameter in backbone.parameters():
            parameter.grad = (
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            )
        optimizer.step()
        results.append(backbone.user_embedding.detach())
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-12)


def test_scores_are_inner_products_or_cosines() -> None:
    user, item = make()()
    unit_user, unit_item = make(cosine_scores=True)()
    expected = torch.nn.functional.cosine_similarity(user[:, None], item[None], dim=2)
    torch.testing.assert_close(unit_user @ unit_item.T, expected)
    assert not torch.allclose(user @ item.T, expected)


def test_uniformity_in_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(functional._CELLS, "cpu", 64)
    rows = torch.nn.functional.normalize(torch.randn(30, 4, dtype=torch.float64), dim=1)
    ours, theirs = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    value = uniformity(ours)
    expected = (-2 * torch.pdist(theirs).square()).exp().mean().log()
    (3 * value).backward()
    (3 * expected).backward()
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_uniformity_of_opposite_and_of_equal_rows() -> None:
    pole = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert math.isclose(uniformity(pole).item(), -8, rel_tol=1e-6)
    assert abs(uniformity(pole[[0, 0, 0]]).item()) < 1e-6
    assert uniformity(pole[:1]) == 0
