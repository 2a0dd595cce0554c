"""Rows of a view and its seeds: two readers of one table, whose gradients add up."""

from __future__ import annotations

import pytest
import torch

from crossalign.training.rows import with_first


@pytest.mark.parametrize("n", [0, 3, 6])
def test_gradients_of_both_readers_add_up_and_spare_what_shares_them(n: int) -> None:
    """`rows + other` hands one gradient to both of its terms: that of `other` must stay."""
    torch.manual_seed(0)
    rows = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    other = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    weights, first_weights = torch.randn(6, 2), torch.randn(n, 2)

    every, first = with_first(rows, n)
    assert torch.equal(first, rows[:n])
    (((every + other) * weights).sum() + (first * first_weights).sum()).backward()
    expected = weights.double().clone()
    torch.testing.assert_close(other.grad, expected)
    expected[:n] += first_weights
    torch.testing.assert_close(rows.grad, expected)
