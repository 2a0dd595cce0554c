"""The layer for whole tables computes what `nn.Linear` computes, value and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossalign.models.linear import TableLinear


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
