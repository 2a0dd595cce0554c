"""Graphs among nodes of one kind: what they share, mixed with what their content is like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..errors import ConfigError
from ..graphs.dgl_import import DGLGraph
from ..graphs.neighbor_lists import NeighborLists
from ..graphs.sparse_pattern import SparsePattern

EPS = 1e-7
"""Added to the degrees that scale cosines."""


class Entries(NamedTuple):
    """Entries of a sparse matrix, `(n_entries,)` each."""

    rows: Tensor
    cols: Tensor
    values: Tensor


class FixedGraph(nn.Module):
    """A square sparse matrix of given values; repeated entries add.

    Args:
        parts: entries, each part with the factor that its values get.
        n: rows of the matrix.
    """

    values: Tensor

    def __init__(self, parts: Iterable[tuple[float, Entries]], n: int) -> None:
        super().__init__()
        scaled = [Entries(r, c, factor * v) for factor, (r, c, v) in parts if factor > 0]
        rows, cols, values = (torch.cat(part) for part in zip(*scaled, strict=True))
        self.pattern = SparsePattern(rows, cols, n, n)
        self.register_buffer("values", values, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The product with `x`, `(n, dim)`."""
        return self.pattern(self.values, x)


def cosine_entries(graph: DGLGraph, etype: str, table: Tensor) -> Entries:
    """Cosines of `table` over the edges of a kNN graph, over the roots of the degrees of both ends.

    Args:
        graph: heterograph.
        etype: relation from neighbours to the nodes whose neighbours they are.
        table: `(n, d)`.

    Raises:
        ConfigError: the graph does not have the relation.
    """
    if etype not in graph.etypes:
        raise ConfigError(f"the graph has no relation '{etype}', which this backbone needs")
    cols, rows = graph.edges(etype=etype, order="eid")
    n, unit = len(table), normalize(table.detach())
    cosines = SparsePattern(rows, cols, n, n).dot(unit, unit)
    degree = torch.bincount(rows, minlength=n)
    scale = (degree.to(cosines) + EPS).rsqrt() * (degree > 0)
    return Entries(rows, cols, scale[rows] * cosines * scale[cols])


def cooccurrence_lists(graph: DGLGraph, node_type: str, k: int) -> NeighborLists:
    """The `k` nodes that share most with each; where none shares anything, the most popular ones.

    Those count with their popularity over the sum of all k.

    Args:
        graph: heterograph with `interacts` and the co-occurrence relation of `node_type`.
        node_type: `user` or `item`.
        k: length of the lists.
    """
    ids, counts = NeighborLists.from_graph(graph, node_type, k)
    ends = dict(zip(("user", "item"), graph.edges(etype="interacts"), strict=True))
    popularity = torch.bincount(ends[node_type], minlength=len(ids))
    most, popular = popularity.sort(descending=True, stable=True)
    most, popular = most[:k].double(), popular[:k]
    lonely = ids[:, 0] < 0
    counts = counts.double()
    ids[lonely, : len(popular)] = popular
    counts[lonely, : len(popular)] = most / most.sum()
    return NeighborLists(ids, counts)
