"""Lists of the nodes that a node shares most with, read from a co-occurrence relation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError
from .dgl_import import DGLGraph

RELATION = {"user": "user_cooccurs", "item": "cooccurs"}
"""Node type -> the name by which `build_graph` knows its co-occurrence graph."""


class NeighborLists(NamedTuple):
    """Neighbours of every node, those with the largest counts first."""

    ids: Tensor
    """`(n, k)` int64, -1 where there are fewer"""
    counts: Tensor
    """`(n, k)`, 0 where there are fewer"""

    @classmethod
    def from_graph(cls, graph: DGLGraph, node_type: str, k: int) -> NeighborLists:
        """The `k` neighbours with most in common, then in the order of the relation.

        Raises:
            ConfigError: the graph does not have the co-occurrence relation of `node_type`.
        """
        etype = (node_type, "cooccurs", node_type)
        if etype not in graph.canonical_etypes:
            name = RELATION[node_type]
            raise ConfigError(f"this backbone needs relation '{name}', which the graph lacks")
        neighbor, node = graph.edges(etype=etype, order="eid")
        weight = graph.edges[etype].data["weight"]
        order = weight.argsort(descending=True, stable=True)
        order = order[node[order].argsort(stable=True)]
        node, neighbor, weight = node[order], neighbor[order], weight[order]
        degree = torch.bincount(node, minlength=graph.num_nodes(node_type))
        place = torch.arange(len(node)) - (degree.cumsum(0) - degree)[node]
        kept = place < k
        ids = torch.full((len(degree), k), -1)
        counts = torch.zeros(len(degree), k, dtype=torch.int64)
        ids[node[kept], place[kept]] = neighbor[kept]
        counts[node[kept], place[kept]] = weight[kept].long()
        return cls(ids, counts)

    def padded(self, rng: torch.Generator) -> NeighborLists:
        """Short lists filled with random repetitions of their own entries; empty ones stay."""
        length = (self.ids >= 0).sum(1, keepdim=True).cpu()
        drawn = (torch.rand(self.ids.shape, generator=rng) * length).long()
        place = torch.arange(self.ids.shape[1]).expand_as(drawn)
        place = torch.where(place < length, place, drawn).to(self.ids.device)
        return NeighborLists(self.ids.gather(1, place), self.counts.gather(1, place))

    def shares(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, columns and values, `(n_entries,)` each, of the softmax of each list's counts.

        Values are float64; empty lists have no entries.
        """
        there = self.ids >= 0
        values = self.counts.double().masked_fill(~there, -torch.inf).softmax(1)
        rows, _ = torch.nonzero(there, as_tuple=True)
        return rows, self.ids[there], values[there]
