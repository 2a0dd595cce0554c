"""Linear layers of tables and of some of their rows, in the faster of torch's float32 kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..tensors.functional import first_order
from ..tensors.products import TILE, product, uses_onednn

BLOCK_BYTES = 4 << 20
"""Size of a block of gathered rows: it stays in the cache between gather and product."""


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
        return linear_table(input, self.weight, self.bias)


def linear_table(table: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`table W^T + b`, `(n_rows, out_features)`, in the faster kernel; differentiable once.

    For tables that always have the same number of rows, like `TableLinear`.

    Args:
        table: `(n_rows, in_features)`
        weight: `(out_features, in_features)`
        bias: `(out_features,)`
    """
    if not uses_onednn(table):
        return linear(table, weight, bias)
    # A strided part of a weight would leave the fast kernel.
    return _Product.apply(table, weight.contiguous(), bias)


class _Product(torch.autograd.Function):
    """`x W^T + b`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight.T, bias)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = product(grad.contiguous(), weight) if ctx.needs_input_grad[0] else None
        # A transposed copy is cheaper than what oneDNN does with a transposed view.
        to_weight = product(grad.T.contiguous(), x) if ctx.needs_input_grad[1] else None
        return to_x, to_weight, grad.sum(0) if ctx.needs_input_grad[2] else None


def linear_rows(table: Tensor, ids: Tensor, layer: nn.Linear) -> Tensor:
    """`layer(table[ids])`, `(n, out_features)`, without a copy of all these rows where possible.

    On a CPU, where the table has no gradient, rows are gathered and multiplied in blocks
    that stay in the cache, and gathered again for the gradient of the weight. Differentiable once.

    Args:
        table: `(n_rows, in_features)`
        ids: `(n,)` int64
        layer: the linear map.
    """
    on_cpu = table.device.type == "cpu" and table.dtype == torch.float32
    if table.requires_grad or not on_cpu:
        return layer(table.index_select(0, ids))
    return _RowsProduct.apply(table, ids, layer.weight, layer.bias)


class _RowsProduct(torch.autograd.Function):
    """`x[ids] W^T + b` of a constant x."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, ids: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(table, ids)
        blocks = [product(rows, weight.T, bias) for rows in _blocks(table, ids)]
        return (blocks[0] if len(blocks) == 1 else torch.cat(blocks))[: len(ids)]

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor, Tensor | None]:
        table, ids = ctx.saved_tensors
        total, first = grad.new_zeros(grad.shape[1], table.shape[1]), 0
        for rows in _blocks(table, ids):
            part = grad[first : first + len(rows)]
            transposed = grad.new_zeros(grad.shape[1], len(rows))
            transposed[:, : len(part)] = part.T
            total += product(transposed, rows)
            first += len(rows)
        return None, None, total, grad.sum(0) if ctx.needs_input_grad[3] else None


def _blocks(table: Tensor, ids: Tensor) -> Iterator[Tensor]:
    """The rows `ids`, a block at a time, the last one filled up with any row to whole tiles.

    Batches differ in their number of rows; so few shapes occur, and few kernels are compiled.
    """
    tiles = max(BLOCK_BYTES // (TILE * table.shape[1] * table.itemsize), 1)
    for block in ids.split(tiles * TILE):
        filling = block[-1:].expand(-len(block) % TILE)
        yield table.index_select(0, torch.cat((block, filling)))
