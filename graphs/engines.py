"""Two engines for one operation: the sum of the neighbours' rows.

`out[v] = sum of x[u] over the edges u -> v`, from a CSR structure whose rows are the destination
nodes. Both engines give equal numbers; neither handles gradients (see `propagation`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import CrossalignError, unknown_name

Engine = Literal["auto", "dgl", "torch"]
ENGINES = ("auto", "dgl", "torch")
NeighborSum = Callable[[Tensor], Tensor]


class CSR(NamedTuple):
    """Edges grouped by destination node."""

    indptr: Tensor
    """`(n_dst + 1,)`, int32 where it fits; edges of node v are `indptr[v]:indptr[v + 1]`"""
    indices: Tensor
    """`(n_edges,)`, same type; source node of each edge"""
    n_src: int
    """number of source nodes"""


def to_csr(src: Tensor, dst: Tensor, n_src: int, n_dst: int) -> CSR:
    """Group the edges `src -> dst` by destination, stably.

    Args:
        src: `(n_edges,)` integer source nodes.
        dst: `(n_edges,)` integer destination nodes.
        n_src: number of source nodes.
        n_dst: number of destination nodes.

    Raises:
        ValueError: a node is out of range (the kernels would read foreign memory). On a GPU, which
            the host does not wait for, that is a device-side assertion.
    """
    for name, nodes, size in (("source", src, n_src), ("destination", dst, n_dst)):
        if nodes.device.type != "cpu":
            torch._assert_async(((nodes >= 0) & (nodes < size)).all())
        elif len(nodes) and not 0 <= int(nodes.min()) <= int(nodes.max()) < size:
            raise ValueError(f"edges hold {name} nodes outside 0 .. {size - 1}")
    small = max(len(src), n_src, n_dst) < 2**31
    index_type = torch.int32 if small else torch.int64
    order = torch.argsort(dst.to(index_type), stable=True)
    indptr = torch.zeros(n_dst + 1, dtype=index_type, device=dst.device)
    indptr[1:] = _degrees(dst, n_dst).cumsum(0)
    return CSR(indptr, src[order].to(index_type), n_src)


def _degrees(nodes: Tensor, n: int) -> Tensor:
    """How often each of `n` nodes occurs, `(n,)` int64."""
    if nodes.device.type == "cpu":
        return torch.bincount(nodes, minlength=n)
    # `bincount` has to know the largest entry, for which the host would wait.
    ones = torch.ones_like(nodes, dtype=torch.int64)
    return torch.zeros(n, dtype=torch.int64, device=nodes.device).index_add_(0, nodes, ones)


def resolve_engine(engine: Engine, device: torch.device) -> Engine:
    """The engine that `auto` stands for; checks that DGL, if named, can work on `device`.

    `auto` is torch: it works on every device, and a 3-layer LightGCN step on it takes about two
    thirds of the time that it takes on DGL's kernels.

    Raises:
        ConfigError: no such engine.
        CrossalignError: this build of DGL cannot work on `device`.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if engine != "dgl":
        return "torch"
    from .dgl_import import dgl_has_cuda

    if device.type == "cpu" or (device.type == "cuda" and dgl_has_cuda()):
        return engine
    raise CrossalignError(
        f"this build of DGL cannot compute on {device.type}; "
        "use engine 'auto' or 'torch', or install a DGL built for CUDA"
    )


def neighbor_sum(csr: CSR, engine: Engine) -> NeighborSum:
    """A function `(n_src, dim) -> (n_dst, dim)` that sums the neighbours' rows.

    Args:
        csr: the edges, on the device where the function will work.
        engine: `auto`, `dgl` or `torch`; see `resolve_engine`.
    """
    engine = resolve_engine(engine, csr.indptr.device)
    return _dgl_sum(csr) if engine == "dgl" else _torch_sum(csr)


def _dgl_sum(csr: CSR) -> NeighborSum:
    """DGL's `copy_u_sum` on a bipartite block."""
    from .dgl_import import dgl

    no_edge_ids = csr.indices.new_empty(0)
    block = dgl.create_block(
        ("csc", (csr.indptr, csr.indices, no_edge_ids)),
        num_src_nodes=csr.n_src,
        num_dst_nodes=len(csr.indptr) - 1,
    )
    return lambda x: dgl.ops.copy_u_sum(block, x.contiguous())


def _torch_sum(csr: CSR) -> NeighborSum:
    """CSR row sums by torch's `embedding_bag`.

    The CSR structure is exactly a list of bags. On CPU this is 3 times faster than
    `torch.sparse_csr_tensor @ x` (which multiplies by stored ones), and it is deterministic on
    every device.
    """

    def run(x: Tensor) -> Tensor:
        out, *_ = torch.embedding_bag(
            x.contiguous(), csr.indices, csr.indptr, False, 0, False, None, True
        )
        return out

    return run
