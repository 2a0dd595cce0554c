"""A linear layer for whole tables, in the faster of torch's two float32 kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..align.products import product, uses_onednn


class TableLinear(nn.Linear):
    """`nn.Linear`, whose three products go to oneDNN where that is the faster kernel.

    Only for tables of `n_rows` rows: oneDNN compiles a kernel for every new shape, which costs more
    than a product. With any other input, such as the rows of a batch, or where oneDNN is not used,
    this is `nn.Linear` itself. Differentiable once.

    Args:
        n_rows: rows of the table.
        in_features: width of its rows.
        out_features: width of the result.
        bias: whether there is one.
    """

    def __init__(self, n_rows: int, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.n_rows = n_rows

    def forward(self, input: Tensor) -> Tensor:
        """`input W^T + b`, `(n, out_features)`."""
        table = input.ndim == 2 and len(input) == self.n_rows > 0
        if not (table and uses_onednn(input)):
            return super().forward(input)
        out = _Product.apply(input, self.weight)
        return out if self.bias is None else out + self.bias


class _Product(torch.autograd.Function):
    """`x W^T`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = product(grad.contiguous(), weight) if ctx.needs_input_grad[0] else None
        # A transposed copy is cheaper than what oneDNN does with a transposed view.
        return to_x, product(grad.T.contiguous(), x) if ctx.needs_input_grad[1] else None
