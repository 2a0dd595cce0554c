"""Sparse graphs whose edge weights are learned, and the pieces they are made of.

`graphs.Adjacency` stores no weights; here every edge has one, with a gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..graphs.engines import to_csr

CHUNK = 2**22
"""Bound on the numbers in a temporary `(edges, dim)` or `(rows, n)` block."""


class SparsePattern(nn.Module):
    """Where a sparse matrix has entries; their values are given to each product.

    Its buffers move with `.to(device)` and are not part of the state dict. Repeated entries add.

    Args:
        rows: `(n_edges,)` int64.
        cols: `(n_edges,)` int64.
        n_rows: rows of the matrix.
        n_cols: columns of the matrix.
    """

    rows: Tensor
    cols: Tensor

    def __init__(self, rows: Tensor, cols: Tensor, n_rows: int, n_cols: int) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("cols", cols, persistent=False)
        for name, inner, outer, n_outer in (
            ("forward", cols, rows, n_rows),
            ("backward", rows, cols, n_cols),
        ):
            edges = torch.arange(len(rows), device=rows.device)
            by_outer = to_csr(edges, outer, len(rows), n_outer)
            order = by_outer.indices.long()
            self.register_buffer(f"{name}_indptr", by_outer.indptr.long(), persistent=False)
            self.register_buffer(f"{name}_order", order, persistent=False)
            self.register_buffer(f"{name}_indices", inner[order], persistent=False)

    def forward(self, values: Tensor, x: Tensor) -> Tensor:
        """The product with `x`, `(n_cols, dim)` to `(n_rows, dim)`; differentiable in both.

        Beyond the result it takes memory for one block of edges, not for `(n_edges, dim)`.

        Args:
            values: `(n_edges,)` entries, in the order of `rows` and `cols`.
            x: `(n_cols, dim)`.
        """
        return _Product.apply(values, x, self)

    def bag_sum(self, values: Tensor, x: Tensor, direction: str) -> Tensor:
        """`A x` for the direction `forward`, `A^T x` for `backward`, without gradients."""
        indptr, order, indices = (
            getattr(self, f"{direction}_{part}") for part in ("indptr", "order", "indices")
        )
        out, *_ = torch.embedding_bag(
            x.contiguous(), indices, indptr, False, 0, False, values[order], True
        )
        return out


class _Product(torch.autograd.Function):
    """`A x`; the gradients are `A^T g` and `<g_row, x_col>` for every entry."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, x: Tensor, pattern: SparsePattern) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(values, x)
        return pattern.bag_sum(values, x, "forward")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, x = ctx.saved_tensors
        pattern, wanted = ctx.pattern, ctx.needs_input_grad
        by_value = sampled_products(grad, x, pattern.rows, pattern.cols) if wanted[0] else None
        return by_value, pattern.bag_sum(values, grad, "backward") if wanted[1] else None, None


def sampled_products(left: Tensor, right: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """`<left[row], right[col]>` of every edge, `(n_edges,)`, block by block.

    Args:
        left: `(n_rows, dim)`.
        right: `(n_cols, dim)`.
        rows: `(n_edges,)` int64.
        cols: `(n_edges,)` int64.
    """
    size = max(1, CHUNK // left.shape[1])
    pairs = zip(rows.split(size), cols.split(size), strict=True)
    return torch.cat(
        [(left.index_select(0, r) * right.index_select(0, c)).sum(1) for r, c in pairs]
    )


@torch.no_grad()
def nearest_by_cosine(table: Tensor, k: int, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Edges from each candidate row to the `k` candidates of largest cosine, itself included.

    Never more than a block of rows of the similarity matrix is in memory.

    Args:
        table: `(n, dim)`.
        k: neighbours per row; fewer if there are fewer candidates.
        candidates: `(m,)` int64 rows that take part.

    Returns:
        `rows` and `cols`, `(m * min(k, m),)` int64 each.
    """
    unit = normalize(table.index_select(0, candidates))
    k = min(k, len(unit))
    best = [(part @ unit.T).topk(k).indices for part in unit.split(max(1, CHUNK // len(unit)))]
    return candidates.repeat_interleave(k), candidates[torch.cat(best).flatten()]


def cosines(table: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Cosine of the two ends of every edge, `(n_edges,)`, differentiable in `table`."""
    unit = normalize(table)
    return sampled_products(unit, unit, rows, cols)


def normalise_by_row_sums(values: Tensor, rows: Tensor, cols: Tensor, n: int) -> Tensor:
    """`D^-1/2 A D^-1/2` with the row sums D of the square matrix A, `(n_edges,)`.

    A row whose sum is not positive has no such scaling and counts as 0, as an empty one does.

    Args:
        values: `(n_edges,)` entries of A; gradients also flow through D.
        rows: `(n_edges,)` int64.
        cols: `(n_edges,)` int64.
        n: rows of A.
    """
    sums = values.new_zeros(n).index_add(0, rows, values)
    positive = sums > 0
    scale = torch.where(positive, sums, 1).rsqrt() * positive
    return scale.index_select(0, rows) * values * scale.index_select(0, cols)
