"""Some neighbours of some nodes, drawn without replacement, in whole arrays and on one thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .dgl_import import DGLGraph

Ids = NDArray[np.integer]


@dataclass(frozen=True)
class InEdges:
    """The edges of one relation, grouped by the node they lead to.

    Attributes:
        indptr: `(n_nodes + 1,)`, the edges of node v are at `indptr[v]:indptr[v + 1]`.
        sources: `(n_edges,)`
        ids: `(n_edges,)` number of each edge.
    """

    indptr: Ids
    sources: Ids
    ids: Ids

    @classmethod
    def of_graph(cls, graph: DGLGraph, etype: tuple[str, str, str]) -> InEdges:
        """Of an edge type of a DGL graph, in 32 bits where they fit."""
        arrays = (tensor.numpy() for tensor in graph.adj_tensors("csc", etype))
        largest = max(graph.num_edges(etype), *map(graph.num_nodes, graph.ntypes))
        small = np.int32 if largest < 2**31 else np.int64
        return cls(*(array.astype(small) for array in arrays))

    def kept(self, ids: Ids) -> InEdges:
        """Those of the given numbers."""
        stays = np.zeros(len(self.ids), dtype=bool)
        stays[ids] = True
        stays = stays[self.ids]
        before = np.concatenate(([0], np.cumsum(stays, dtype=self.indptr.dtype)))
        return InEdges(before[self.indptr], self.sources[stays], self.ids[stays])

    def degrees(self, nodes: Ids | slice = slice(None)) -> Ids:
        """Edges into each node."""
        return (self.indptr[1:][nodes] - self.indptr[:-1][nodes]).astype(np.int64)

    def draw(self, nodes: Ids, k: int, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """`k` edges into each node, or all where there are no more.

        Args:
            nodes: `(n,)`
            k: -1 takes all edges of every node.
            rng: the only source of randomness.

        Returns:
            `(n + 1,)` where the edges of each node begin among the drawn, and their places in
            `sources` and `ids`.
        """
        degree = self.degrees(nodes)
        counts = degree if k < 0 else np.minimum(degree, k)
        indptr = np.concatenate(([0], np.cumsum(counts)))
        # The edges of a node lie together: from the first drawn to the first in the graph.
        shift = self.indptr[nodes] - indptr[:-1]
        places = np.arange(indptr[-1]) + np.repeat(shift, counts)
        (some,) = np.nonzero(degree > counts)
        if len(some):
            chosen = distinct_below(degree[some], k, rng) + self.indptr[nodes[some]][:, None]
            places[indptr[some][:, None] + np.arange(k)] = chosen
        return indptr, places

    def found(self, edges: Ids, rows: Ids, indptr: Ids, places: Ids) -> Ids:
        """Where some edges are among the drawn.

        Args:
            edges: `(n,)` numbers of edges.
            rows: `(n,)` the position among the nodes drawn around of the one that each leads to,
                or -1.
            indptr: `(n_nodes + 1,)` of `draw`.
            places: `(n_drawn,)` of `draw`.
        """
        edges, rows = edges[rows >= 0], rows[rows >= 0]
        counts = indptr[rows + 1] - indptr[rows]
        if counts.sum() > len(places):  # all neighbours of large nodes, again and again
            return np.flatnonzero(np.isin(self.ids[places], edges))
        first = np.concatenate(([0], np.cumsum(counts)))
        drawn = np.arange(first[-1]) + np.repeat(indptr[rows] - first[:-1], counts)
        return drawn[self.ids[places[drawn]] == np.repeat(edges, counts)]


def distinct_below(n: Ids, k: int, rng: np.random.Generator) -> Ids:
    """`k` distinct numbers below each of `n` `(m,)`, all sets alike, `(m, k)`; `k <= n`.

    Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987), for all rows at once.
    """
    chosen = np.empty((k, len(n)), dtype=np.int64)
    drawn = rng.random((k, len(n)))
    for step in range(k):
        last = n - k + step
        number = (drawn[step] * (last + 1)).astype(np.int64)
        taken = (chosen[:step] == number).any(0)
        chosen[step] = np.where(taken, last, number)
    return chosen.T


class Places:
    """Numbers the nodes of a sample, at a cost that does not grow with the graph.

    Args:
        n_nodes: nodes of the graph.
    """

    def __init__(self, n_nodes: int) -> None:
        self._of = np.zeros(n_nodes, dtype=np.int32)
        """scratch, whatever the last sample left of it"""

    def number(self, first: Ids, others: Ids) -> tuple[Ids, Ids]:
        """All nodes that occur, `first` in front, and the positions of `others` among them.

        Args:
            first: `(n,)` distinct nodes.
            others: `(m,)` nodes, with repeats.
        """
        each = np.arange(len(others), dtype=np.int32)
        self._of[others] = each  # the last of equal nodes stays
        self._of[first] = -1
        new = np.sort(others[self._of[others] == each])  # rows in their order in memory
        nodes = np.concatenate((first, new))
        self._of[nodes] = np.arange(len(nodes), dtype=np.int32)
        return nodes, self._of[others]

    def find(self, wanted: Ids, among: Ids) -> Ids:
        """Positions of `wanted` `(n,)` among distinct nodes, -1 for those that are not there."""
        self._of[among] = np.arange(len(among), dtype=np.int32)
        at = self._of[wanted]
        there = (at >= 0) & (at < len(among))
        at[~there] = 0
        return np.where(there & (among[at] == wanted), at, -1) if len(among) else at - 1
