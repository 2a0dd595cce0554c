"""Lazy Adam moves exactly the rows that a sparse gradient names, however many there are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from crossalign.training.optimizer import ROWS_IN_CACHE, LazyAdam


def sparse(rows: Tensor, values: Tensor, n: int) -> Tensor:
    return torch.sparse_coo_tensor(rows[None], values, (n, values.shape[1]), check_invariants=True)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("n_rows", [1, ROWS_IN_CACHE, 2 * ROWS_IN_CACHE + 5])
def test_named_rows_move_as_by_adam_and_the_others_rest(n_rows: int, weight_decay: float) -> None:
    n, dim = n_rows + 7, 3
    torch.manual_seed(0)
    start = torch.randn(n, dim, dtype=torch.float64)
    named = torch.randperm(n)[:n_rows].sort().values
    table = nn.Parameter(start.clone())
    alone = nn.Parameter(start[named].clone())
    lazy = LazyAdam([table], lr=0.1, weight_decay=weight_decay)
    adam = torch.optim.Adam([alone], lr=0.1, weight_decay=weight_decay)
    for _ in range(3):
        gradient = torch.randn(n_rows, dim, dtype=torch.float64)
        table.grad, alone.grad = sparse(named, gradient, n), gradient
        lazy.step()
        adam.step()

    expected = start.clone()
    expected[named] = alone.detach()
    torch.testing.assert_close(table.detach(), expected, rtol=1e-12, atol=1e-12)


def test_a_gradient_without_rows_changes_nothing() -> None:
    table = nn.Parameter(torch.ones(4, 2))
    lazy = LazyAdam([table], lr=0.1)
    table.grad = sparse(torch.empty(0, dtype=torch.int64), torch.empty(0, 2), 4)
    lazy.step()
    assert torch.equal(table.detach(), torch.ones(4, 2))
