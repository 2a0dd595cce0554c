"""Sparse products with learned weights, and what learned item graphs are made of."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from crossalign.models import sparse_graph
from crossalign.models.sparse_graph import (
    SparsePattern,
    nearest_by_cosine,
    normalise_by_row_sums,
)


def test_weighted_products_have_correct_gradients() -> None:
    rows, cols = torch.tensor([3, 0, 3, 3, 1]), torch.tensor([1, 2, 1, 0, 2])
    pattern = SparsePattern(rows, cols, 4, 3)
    values = torch.randn(5, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    matrix = torch.zeros(4, 3, dtype=torch.float64)
    matrix.index_put_((rows, cols), values.detach(), accumulate=True)
    torch.testing.assert_close(pattern(values, x), matrix @ x)
    assert torch.autograd.gradcheck(pattern, (values, x))


def test_rows_whose_sum_is_not_positive_count_as_zero() -> None:
    rows, cols = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2])
    values = torch.tensor([1.0, 3.0, -2.0, 0.0], requires_grad=True)
    found = normalise_by_row_sums(values, rows, cols, 3)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.0, 0.0, 0.0]))
    found.sum().backward()
    assert torch.isfinite(values.grad).all()


def test_nearest_rows_are_searched_among_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_graph, "CHUNK", 30)  # blocks of 4 rows
    table, candidates = torch.randn(9, 3), torch.tensor([0, 2, 3, 5, 6, 7, 8])
    rows, cols = nearest_by_cosine(table, 3, candidates)
    unit = normalize(table)
    for row in range(9):
        expected = sorted(candidates.tolist(), key=lambda c: -float(unit[row] @ unit[c]))[:3]
        assert sorted(cols[rows == row].tolist()) == sorted(expected if row in candidates else [])
    assert len(nearest_by_cosine(table, 10, candidates)[0]) == 7 * 7
