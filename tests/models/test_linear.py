"""Layers of tables and of their rows compute what `nn.Linear` computes, value and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossalign.models import linear
from crossalign.models.linear import TableLinear, linear_rows


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(37, 12), (36, 12), (0, 12), (37, 2, 12)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_a_linear_layer(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours, plain = TableLinear(37, 12, 7, bias).to(dtype), nn.Linear(12, 7, bias).to(dtype)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    weights = torch.randn(*shape[:-1], 7, dtype=dtype)
    found, expected = (
        torch.autograd.grad((layer(x) * weights).sum(), [x, *layer.parameters()])
        for layer in (ours, plain)
    )
    torch.testing.assert_close(ours(x), plain(x))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_takes_gradients_of_any_layout() -> None:
    """An expanded gradient has no memory layout of its own."""
    torch.manual_seed(0)
    ours, x = TableLinear(5, 6, 3), torch.randn(5, 6, requires_grad=True)
    ours(x).sum().backward()
    torch.testing.assert_close(x.grad, ours.weight.sum(0).expand(5, 6))
    torch.testing.assert_close(ours.weight.grad, x.detach().sum(0).expand(3, 6))


@pytest.mark.parametrize("n", [0, 1, 300])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_a_table_equal_a_linear_layer(
    n: int, bias: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of one tile, of which the last is not full; rows repeat."""
    monkeypatch.setattr(linear, "BLOCK_BYTES", 0)
    torch.manual_seed(0)
    layer, table = nn.Linear(12, 7, bias).to(dtype), torch.randn(50, 12, dtype=dtype)
    ids, weights = torch.randint(50, (n,)), torch.randn(n, 7, dtype=dtype)
    ours, plain = linear_rows(table, ids, layer), layer(table[ids])
    torch.testing.assert_close(ours, plain)
    found, expected = (
        torch.autograd.grad((out * weights).sum(), list(layer.parameters()))
        for out in (ours, plain)
    )
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_rows_of_a_trained_table_move_it() -> None:
    torch.manual_seed(0)
    layer, table = nn.Linear(6, 3), torch.randn(5, 6, requires_grad=True)
    linear_rows(table, torch.tensor([1, 3, 1]), layer).sum().backward()
    expected = layer.weight.detach().sum(0) * torch.tensor([0.0, 2, 0, 1, 0]).unsqueeze(1)
    torch.testing.assert_close(table.grad, expected)
