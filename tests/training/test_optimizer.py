"""Lazy Adam moves exactly the rows that a sparse gradient names, however many there are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossalign.errors import ConfigError
from crossalign.training.optimizer import ROWS_IN_CACHE, LazyAdam, make_optimizer
from crossalign.training.options import TrainingOptions


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


def test_threads_share_the_rows_and_change_no_digit() -> None:
    n = 5 * ROWS_IN_CACHE + 3
    torch.manual_seed(0)
    start, gradient = torch.randn(n, 4), torch.randn(n, 4)
    before, tables = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            table = nn.Parameter(start.clone())
            lazy = LazyAdam([table], lr=0.1)
            for _ in range(2):
                table.grad = sparse(torch.arange(n), gradient, n)
                lazy.step()
            assert torch.get_num_threads() == threads
            tables.append(table.detach())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*tables)


@pytest.fixture
def older_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam as torch before 2.4 has it: without a fused kernel for CPUs."""
    make = torch.optim.Adam.__init__

    def refuse(
        self: torch.optim.Adam, *given: Any, fused: bool | None = None, **named: Any
    ) -> None:
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be on a GPU")
        make(self, *given, fused=fused, **named)

    monkeypatch.setattr(torch.optim.Adam, "__init__", refuse)


@pytest.mark.usefixtures("older_torch")
def test_with_an_older_torch_lazy_adam_is_refused_and_adam_does_without_its_kernel() -> None:
    parameters = nn.Linear(2, 2).parameters()
    lazy = TrainingOptions(sampling="blocks", lazy_embeddings=True)
    with pytest.raises(ConfigError, match=r"lazy_embeddings' needs torch 2\.4"):
        make_optimizer(parameters, lazy)
    adam = make_optimizer(nn.Linear(2, 2).parameters(), TrainingOptions())
    assert type(adam) is torch.optim.Adam
    assert not adam.defaults["fused"]
