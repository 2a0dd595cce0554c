"""Sparse matrices whose entries are learnt: weighted sums, inner products, nearest rows.

`Adjacency` stores no weights; here every entry has one, with a gradient. Everything is as long as
the list of entries or as the tables: gathered rows, `(n_entries, dim)`, and similarities,
`(n, n)`, exist one block at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..tensors.functional import first_order
from .adjacency import checked_rows
from .engines import to_csr

if TYPE_CHECKING:
    from .dgl_import import DGLGraph

BLOCK = 2**20
"""Bound on the numbers in a temporary block."""


class SparsePattern(nn.Module):
    """Where a sparse matrix has entries; their values are given to each product.

    Values `(n_entries,)` are in the order of `rows` and `cols`; repeated entries add. Products are
    differentiable once: the gradient of a weighted sum is a weighted sum the other way and an
    inner product per entry, and the other way round. Buffers move with `.to(device)` and are not
    part of the state dict.

    Args:
        rows: `(n_entries,)` int64.
        cols: `(n_entries,)` int64.
        n_rows: rows of the matrix.
        n_cols: columns of the matrix.
    """

    rows: Tensor
    cols: Tensor

    def __init__(self, rows: Tensor, cols: Tensor, n_rows: int, n_cols: int) -> None:
        super().__init__()
        self.n_rows, self.n_cols = n_rows, n_cols
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("cols", cols, persistent=False)
        self.by_row = _Bags(rows, cols, n_rows)
        self.by_col = _Bags(cols, rows, n_cols)

    @classmethod
    def from_graph(cls, graph: DGLGraph) -> SparsePattern:
        """Users x items with the `interacts` edges of `build_graph`'s graph, by edge id."""
        users, items = graph.edges(etype="interacts", order="eid")
        return cls(users, items, graph.num_nodes("user"), graph.num_nodes("item"))

    def forward(self, values: Tensor, x: Tensor) -> Tensor:
        """The product with `x`, `(n_cols, dim)` to `(n_rows, dim)`."""
        return _Product.apply(values, checked_rows(x, self.n_cols), self, False)

    def transposed(self, values: Tensor, x: Tensor) -> Tensor:
        """The product of the transposed matrix with `x`, `(n_rows, dim)` to `(n_cols, dim)`."""
        return _Product.apply(values, checked_rows(x, self.n_rows), self, True)

    def dot(self, left: Tensor, right: Tensor) -> Tensor:
        """`<left[row], right[col]>` of every entry, `(n_entries,)`.

        Args:
            left: `(n_rows, dim)`.
            right: `(n_cols, dim)`.
        """
        return _Dot.apply(checked_rows(left, self.n_rows), checked_rows(right, self.n_cols), self)

    def row_softmax(self, logits: Tensor) -> Tensor:
        """Softmax of `logits` `(n_entries,)` among the entries of the same row."""
        return _softmax(logits, self.rows, self.n_rows)

    def col_softmax(self, logits: Tensor) -> Tensor:
        """Softmax of `logits` `(n_entries,)` among the entries of the same column."""
        return _softmax(logits, self.cols, self.n_cols)

    def plain_product(self, values: Tensor, x: Tensor, transposed: bool) -> Tensor:
        """What `forward` and `transposed` give, without gradients."""
        return (self.by_col if transposed else self.by_row)(values, x)

    def plain_dot(self, left: Tensor, right: Tensor) -> Tensor:
        """What `dot` gives, without gradients, by blocks of entries."""
        size = max(1, BLOCK // left.shape[1])
        pairs = zip(self.rows.split(size), self.cols.split(size), strict=True)
        return torch.cat(
            [(left.index_select(0, r) * right.index_select(0, c)).sum(1) for r, c in pairs]
        )


class _Bags(nn.Module):
    """Entries grouped by one of their ends, as the bags of torch's `embedding_bag`."""

    indptr: Tensor
    order: Tensor
    others: Tensor

    def __init__(self, ends: Tensor, others: Tensor, n_ends: int) -> None:
        super().__init__()
        entries = torch.arange(len(ends), device=ends.device)
        indptr, order, _ = to_csr(entries, ends, len(ends), n_ends)
        self.register_buffer("indptr", indptr, persistent=False)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("others", others[order].to(indptr), persistent=False)

    def forward(self, values: Tensor, x: Tensor) -> Tensor:
        """Weighted sum of the rows of `x` at the other ends, `(n_ends, dim)`."""
        weights = values.index_select(0, self.order)
        out, *_ = torch.embedding_bag(
            x.contiguous(), self.others, self.indptr, False, 0, False, weights, True
        )
        return out


class _Product(torch.autograd.Function):
    """`A x`, or the transpose's product."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, x: Tensor, pattern: SparsePattern, transposed: bool
    ) -> Tensor:
        ctx.save_for_backward(values, x)
        ctx.pattern, ctx.transposed = pattern, transposed
        return pattern.plain_product(values, x, transposed)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        values, x = ctx.saved_tensors
        pattern, transposed = ctx.pattern, ctx.transposed
        to_values = to_x = None
        if ctx.needs_input_grad[0]:
            to_values = pattern.plain_dot(*((x, grad) if transposed else (grad, x)))
        if ctx.needs_input_grad[1]:
            to_x = pattern.plain_product(values, grad, not transposed)
        return to_values, to_x, None, None


class _Dot(torch.autograd.Function):
    """Inner product of the two ends of every entry."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, pattern: SparsePattern) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.pattern = pattern
        return pattern.plain_dot(left, right)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        needs, product = ctx.needs_input_grad, ctx.pattern.plain_product
        to_left = product(grad, right, False) if needs[0] else None
        return to_left, product(grad, left, True) if needs[1] else None, None


def _softmax(logits: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """`exp(logits)` over its sum within each group."""
    top = logits.new_full((n_groups,), -torch.inf)
    top = top.scatter_reduce(0, group, logits.detach(), "amax")
    masses = (logits - top.index_select(0, group)).exp()
    totals = masses.new_zeros(n_groups).index_add(0, group, masses)
    return masses / totals.index_select(0, group)


def normalised_by_row_sums(values: Tensor, rows: Tensor, cols: Tensor, n: int) -> Tensor:
    """`D^-1/2 A D^-1/2` with the row sums D of the square matrix A, `(n_entries,)`.

    A row whose sum is not positive has no such scaling and counts as 0, as an empty one does.

    Args:
        values: `(n_entries,)` entries of A; gradients also flow through D.
        rows: `(n_entries,)` int64.
        cols: `(n_entries,)` int64.
        n: rows of A.
    """
    sums = values.new_zeros(n).index_add(0, rows, values)
    positive = sums > 0
    scale = torch.where(positive, sums, 1).rsqrt() * positive
    return scale.index_select(0, rows) * values * scale.index_select(0, cols)


@torch.no_grad()
def nearest_rows(table: Tensor, k: int, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """From each candidate row to the `k` candidates of largest inner product, itself included.

    Never more than a block of rows of the similarity matrix is in memory.

    Args:
        table: `(n, dim)`; of length one for the largest cosines.
        k: neighbours per row; fewer if there are fewer candidates.
        candidates: `(m,)` int64 rows that take part.

    Returns:
        `rows` and `cols`, `(m * min(k, m),)` int64 each.
    """
    taking_part = table.index_select(0, candidates)
    k, size = min(k, len(candidates)), max(1, BLOCK // max(1, len(candidates)))
    best = [(part @ taking_part.T).topk(k).indices for part in taking_part.split(size)]
    return candidates.repeat_interleave(k), candidates[torch.cat(best).flatten()]
