"""Message passing over one relation.

A normalised adjacency is node scaling around an unweighted sum, `diag(a) S diag(b)`, so no edge
weights are stored. The backward pass is the product with the transposed structure, prepared
once; no activations are kept for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import unknown_name
from ..tensors.functional import first_order, widened
from ..tensors.later import sp
from .engines import CSR, Engine, NeighborSum, neighbor_sum, resolve_engine, to_csr

if TYPE_CHECKING:
    from .dgl_import import DGLGraph

Norm = Literal["both", "dst_both", "row", "none"]
NORMS = ("both", "dst_both", "row", "none")
NO_EPS = 1e-30
"""Vanishes beside any degree, and keeps nodes without edges finite in float32."""


class Kernel(NamedTuple):
    """What one dtype and device needs to multiply: `diag(dst_scale) S diag(src_scale)`."""

    sum: NeighborSum
    transposed_sum: NeighborSum
    dst_scale: Tensor | None
    src_scale: Tensor | None


class Adjacency(nn.Module):
    """The normalised sparse matrix of one relation: rows are destinations, columns sources.

    Build it with `from_graph` or `from_edges`. Node types, full graphs and sampled blocks are
    all the same to it: only the numbers of source and destination nodes and the edges matter.
    Its buffers move with `.to(device)` and are not part of the state dict. Repeated edges count
    as often as they occur; a node without edges gets zeros.

    The value of the edge `u -> v`, with in-degree `in` and out-degree `out`, is

    - `both`: `(in(v) + eps)^-1/2 (out(u) + eps)^-1/2`, the symmetric norm of a bipartite graph,
    - `dst_both`: `(in(v) + eps)^-1/2 (in(u) + eps)^-1/2`, for a directed k-nearest-neighbour
      graph over one node type (FREEDOM: every value is `1 / (k + eps)`); 0 for a source `u` that
      has no neighbours of its own,
    - `row`: `1 / (in(v) + eps)`, the mean of the neighbours,
    - `none`: 1.
    """

    indptr: Tensor
    indices: Tensor
    transposed_indptr: Tensor
    transposed_indices: Tensor

    def __init__(self, by_dst: CSR, by_src: CSR, *, norm: Norm, engine: Engine, eps: float) -> None:
        super().__init__()
        if norm not in NORMS:
            raise unknown_name("norm", norm, NORMS)
        if norm == "dst_both" and len(by_dst.indptr) != len(by_src.indptr):
            raise ValueError("norm 'dst_both' is for a relation within one node type")
        self.norm = norm
        self.engine = engine
        self.eps = eps
        for prefix, csr in (("", by_dst), ("transposed_", by_src)):
            self.register_buffer(f"{prefix}indptr", csr.indptr, persistent=False)
            self.register_buffer(f"{prefix}indices", csr.indices, persistent=False)
        self._kernels: dict[torch.dtype, Kernel] = {}
        resolve_engine(engine, by_dst.indptr.device)

    @classmethod
    def from_graph(
        cls,
        graph: DGLGraph,
        etype: str | tuple[str, str, str],
        *,
        norm: Norm = "both",
        engine: Engine = "auto",
        eps: float = 1e-7,
    ) -> Adjacency:
        """The adjacency of edge type `etype` of a DGL graph or sampled block."""
        source, _, destination = graph.to_canonical_etype(etype)
        src, dst = graph.edges(etype=etype)
        n_src, n_dst = graph.num_src_nodes(source), graph.num_dst_nodes(destination)
        return cls.from_edges(src, dst, n_src, n_dst, norm=norm, engine=engine, eps=eps)

    @classmethod
    def from_edges(
        cls,
        src: Tensor,
        dst: Tensor,
        n_src: int,
        n_dst: int,
        *,
        norm: Norm = "both",
        engine: Engine = "auto",
        eps: float = 1e-7,
    ) -> Adjacency:
        """The adjacency of the edges `src -> dst`.

        Args:
            src: `(n_edges,)` int64 source nodes.
            dst: `(n_edges,)` int64 destination nodes.
            n_src: number of source nodes.
            n_dst: number of destination nodes.
            norm: `both`, `dst_both`, `row` or `none`; see the class.
            engine: `dgl`, `torch`, or `auto`, the faster one; see `resolve_engine`.
            eps: added to degrees before the power.

        Raises:
            ConfigError: unknown norm or engine.
            CrossalignError: DGL is asked for where it cannot work.
        """
        by_dst, by_src = to_csr(src, dst, n_src, n_dst), to_csr(dst, src, n_dst, n_src)
        return cls(by_dst, by_src, norm=norm, engine=engine, eps=eps)

    @property
    def n_src(self) -> int:
        """Number of source nodes: rows that `forward` takes."""
        return len(self.transposed_indptr) - 1

    @property
    def n_dst(self) -> int:
        """Number of destination nodes: rows that `forward` gives."""
        return len(self.indptr) - 1

    def forward(self, x: Tensor) -> Tensor:
        """The product with `x`, `(n_src, dim)` to `(n_dst, dim)`, differentiable in `x`."""
        return _Product.apply(checked_rows(x, self.n_src), self, False)

    def transposed(self, x: Tensor) -> Tensor:
        """The product of the transposed matrix with `x`, `(n_dst, dim)` to `(n_src, dim)`."""
        return _Product.apply(checked_rows(x, self.n_dst), self, True)

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """The sums and scalings for `dtype` on the current device; prepared at first use."""
        if dtype not in self._kernels:
            by_dst = CSR(self.indptr, self.indices, self.n_src)
            by_src = CSR(self.transposed_indptr, self.transposed_indices, self.n_dst)
            scales = (None if scale is None else scale.to(dtype) for scale in self._scales())
            self._kernels[dtype] = Kernel(
                neighbor_sum(by_dst, self.engine), neighbor_sum(by_src, self.engine), *scales
            )
        return self._kernels[dtype]

    def _scales(self) -> tuple[Tensor | None, Tensor | None]:
        """Scalings `(n_dst, 1)` and `(n_src, 1)`, float64; None is all ones."""
        in_degree = self.indptr.diff().double().add(self.eps).unsqueeze(1)
        out_degree = self.transposed_indptr.diff().double().add(self.eps).unsqueeze(1)
        if self.norm == "both":
            return in_degree.rsqrt(), out_degree.rsqrt()
        if self.norm == "dst_both":
            # As a source, a node without neighbours of its own would be scaled by eps^-1/2.
            scale = in_degree.rsqrt().where(self.indptr.diff().unsqueeze(1) > 0, 0.0)
            return scale, scale
        return (in_degree.reciprocal() if self.norm == "row" else None), None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Adjacency:
        """Moving the module makes the prepared kernels stale."""
        self._kernels.clear()
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """Prepared kernels are not copied or pickled."""
        return {**self.__dict__, "_kernels": {}}

    def extra_repr(self) -> str:
        """What `print` shows."""
        return (
            f"{self.n_dst} x {self.n_src}, {len(self.indices)} edges, "
            f"norm={self.norm}, engine={self.engine}"
        )


class SampledRelation(nn.Module):
    """`x -> W x` over the sampled edges of one relation, each of which has a weight.

    The weights are those of a scaled adjacency, `dst_scale[v] src_scale[u]`: multiplied out for
    the few edges of a sample, they save two passes over its many rows.

    Args:
        by_dst: the edges by destination, of `n_src` sources.
        by_src: the same edges by source.
        by_dst_weights: `(n_edges,)` in the order of `by_dst`.
        by_src_weights: `(n_edges,)` in the order of `by_src`.
    """

    indptr: Tensor
    indices: Tensor
    weights: Tensor
    transposed_indptr: Tensor
    transposed_indices: Tensor
    transposed_weights: Tensor

    def __init__(
        self, by_dst: CSR, by_src: CSR, by_dst_weights: Tensor, by_src_weights: Tensor
    ) -> None:
        super().__init__()
        of_edges = (("", by_dst, by_dst_weights), ("transposed_", by_src, by_src_weights))
        for prefix, csr, weights in of_edges:
            self.register_buffer(f"{prefix}indptr", csr.indptr, persistent=False)
            self.register_buffer(f"{prefix}indices", csr.indices, persistent=False)
            self.register_buffer(f"{prefix}weights", weights, persistent=False)

    @classmethod
    def from_csr(cls, indptr: Any, indices: Any, weights: Any, n_src: int) -> SampledRelation:
        """Of arrays of edges by destination, on the CPU.

        Args:
            indptr: `(n_dst + 1,)`
            indices: `(n_edges,)` source of each edge.
            weights: `(n_edges,)`
            n_src: number of source nodes.
        """
        by_dst = sp.csr_array((weights, indices, indptr), (len(indptr) - 1, n_src))
        by_src = by_dst.tocsc()

        def edges(part: Any, n: int) -> CSR:
            return CSR(torch.from_numpy(part.indptr), torch.from_numpy(part.indices), n)

        in_order = (torch.from_numpy(part.data) for part in (by_dst, by_src))
        return cls(edges(by_dst, n_src), edges(by_src, len(indptr) - 1), *in_order)

    @classmethod
    def from_edges(
        cls, src: Tensor, dst: Tensor, weights: Tensor, n_src: int, n_dst: int
    ) -> SampledRelation:
        """Of the edges `src -> dst` `(n_edges,)` and their weights, on the CPU; equal ones add."""
        ends = (dst.numpy(), src.numpy())
        by_dst = sp.coo_array((weights.numpy(), ends), (n_dst, n_src)).tocsr()
        return cls.from_csr(by_dst.indptr, by_dst.indices, by_dst.data, n_src)

    @property
    def n_src(self) -> int:
        """Rows that `forward` takes."""
        return len(self.transposed_indptr) - 1

    def forward(self, x: Tensor) -> Tensor:
        """`(n_src, dim)` to `(n_dst, dim)`."""
        return _SampledProduct.apply(checked_rows(x, self.n_src), self)

    def product(self, x: Tensor) -> Tensor:
        """What `forward` gives, without gradients."""
        return _weighted_sum(x, self.indptr, self.indices, self.weights)

    def adjoint(self, grad: Tensor) -> Tensor:
        """The product of the transposed matrix, `(n_dst, dim)` to `(n_src, dim)`."""
        indptr, indices = self.transposed_indptr, self.transposed_indices
        return _weighted_sum(grad, indptr, indices, self.transposed_weights)


class _SampledProduct(torch.autograd.Function):
    """`W x`; the gradient is the transpose's product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, relation: SampledRelation) -> Tensor:
        ctx.relation = relation
        return relation.product(x)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.relation.adjoint(grad), None


def _weighted_sum(x: Tensor, indptr: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    out, *_ = torch.embedding_bag(
        x.contiguous(), indices, indptr, False, 0, False, weights.to(x.dtype), True
    )
    return out


class _Product(torch.autograd.Function):
    """`A x` or its transpose; the gradient is the other one's product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adjacency: Adjacency, transposed: bool) -> Tensor:
        ctx.adjacency, ctx.transposed = adjacency, transposed
        kernel = adjacency.kernel(x.dtype)
        total, after, before = kernel.sum, kernel.dst_scale, kernel.src_scale
        if transposed:
            total, after, before = kernel.transposed_sum, before, after
        out = total(x if before is None else x * before)
        return out if after is None else out.mul_(after)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(grad, ctx.adjacency, not ctx.transposed), None, None


def checked_rows(x: Tensor, n_rows: int) -> Tensor:
    """`x`, if it is a matrix of `n_rows` rows: kernels must not read out of bounds.

    Rows of 16 bits are widened to float32: they are too few for sums over many neighbours.
    """
    if x.ndim != 2 or len(x) != n_rows:
        raise ValueError(f"expected a ({n_rows}, dim) tensor, got shape {tuple(x.shape)}")
    return widened(x)
