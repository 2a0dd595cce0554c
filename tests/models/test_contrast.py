"""Contrasts that count repeated rows equal those that compute every row."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from crossalign.models.contrast import (
    Repeated,
    cosine_contrast,
    cosine_contrast_of,
    in_batch_contrast,
)

N, DIM, BATCH = 9, 5, 40


@pytest.fixture
def ids() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(N, (BATCH,))


def table(n: int = N) -> torch.Tensor:
    return torch.randn(n, DIM, dtype=torch.float64, requires_grad=True)


def same(ours: torch.Tensor, plain: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    torch.testing.assert_close(ours, plain)
    found, expected = (torch.autograd.grad(loss, inputs) for loss in (ours, plain))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_nodes_against_all_nodes(ids) -> None:
    context, centre = table(), table()
    ours = cosine_contrast_of(context, centre, Repeated.of_batch(ids), 0.3)
    same(ours, cosine_contrast(context[ids], centre, ids, 0.3), [context, centre])


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_pairs_of_a_batch(ids, scale: float) -> None:
    """Large rows too, whose exponentials would overflow unshifted."""
    others = torch.randint(N - 3, (BATCH,))
    left, right = table(), table(N - 3)
    sides = Repeated.of_batch(ids), Repeated.of_batch(others)
    rows = [
        (scale * x).index_select(0, side.ids) for x, side in zip((left, right), sides, strict=True)
    ]
    ours = in_batch_contrast(rows[0], sides[0], rows[1], sides[1], 0.2, bounded=False)
    logits = scale * left[ids] @ (scale * right[others]).T / 0.2
    plain = cross_entropy(logits, torch.arange(BATCH), reduction="sum")
    same(ours, plain, [left, right])
