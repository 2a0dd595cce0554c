"""Sampled blocks of a graph that lies on several hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..graphs.adjacency import SampledRelation
from ..graphs.blocks import EDGE, REVERSE, SampledLayer, SampledPropagation, View
from ..graphs.dgl_import import DGLGraph, dgl
from ..graphs.item_blocks import ItemHops
from .cluster import Cluster


class RemoteBlocks:
    """What `graphs.blocks.BlockSampler` is on one machine.

    Neighbours are drawn where they lie, by the servers and by the trainer of that host.

    Args:
        cluster: where the graph lies.
        fanouts: neighbours to draw of each node, from the seeds outward; -1 takes all.
        similar: graphs between items, for backbones that have them.
    """

    def __init__(
        self, cluster: Cluster, fanouts: Sequence[int], similar: ItemHops | None = None
    ) -> None:
        self.cluster = cluster
        self.fanouts = tuple(fanouts)
        self.similar = similar

    def view(self, users: Tensor, items: Tensor, excluded: Tensor | None = None) -> View:
        """Draw around `users` and `items`, both distinct and sorted.

        Args:
            users: `(n_seed_users,)` places.
            items: `(n_seed_items,)` places.
            excluded: `(2, n)` pairs that are left out in both directions.
        """
        seeds = {"user": users, "item": items}
        layers: list[SampledLayer] = []
        for fanout in self.fanouts:
            block = self._block(seeds, fanout, excluded)
            layers.insert(0, sampled_layer(block, fanout, self._degrees))
            seeds = {kind: block.srcnodes[kind].data[dgl.NID] for kind in ("user", "item")}
        items_read, similar = seeds["item"], None
        if self.similar is not None:
            items_read, similar = self.similar.around(items, items_read)
        propagation = SampledPropagation(layers, len(seeds["item"]), similar)
        return View(seeds["user"], items_read, len(users), len(items), propagation)

    def one_layer(self, users: Tensor, items: Tensor) -> tuple[SampledLayer, Tensor, Tensor]:
        """The layer with all edges into these nodes, and the users and items it reads."""
        block = self._block({"user": users, "item": items}, -1, None)
        read = (block.srcnodes[kind].data[dgl.NID] for kind in ("user", "item"))
        return (sampled_layer(block, -1, self._degrees), *read)

    def _block(self, seeds: dict[str, Tensor], fanout: int, excluded: Tensor | None) -> DGLGraph:
        graph = self.cluster.graph
        drawn = edges_into(self.cluster, seeds, fanout, (EDGE, REVERSE))
        if excluded is not None:
            n_items = self.cluster.parts.n_items
            key = excluded[0] * n_items + excluded[1]
            (u, i), (of, to) = drawn[EDGE], drawn[REVERSE]
            kept, back = ~torch.isin(u * n_items + i, key), ~torch.isin(to * n_items + of, key)
            drawn = {EDGE: (u[kept], i[kept]), REVERSE: (of[back], to[back])}
        counts = {kind: graph.num_nodes(kind) for kind in ("user", "item")}
        return dgl.to_block(dgl.heterograph(drawn, num_nodes_dict=counts), seeds)

    def _degrees(self, kind: str, ids: Tensor) -> Tensor:
        degree: Tensor = self.cluster.data(kind, "degree")[ids]
        return degree.double()


Etype = tuple[str, str, str]
Degrees = Callable[[str, Tensor], Tensor]
"""Node type and ids `(n,)` -> `(n,)` float64, their degrees in the whole graph."""


def sampled_layer(
    block: DGLGraph, fanout: int, degrees: Degrees, *, eps: float = 1e-7
) -> SampledLayer:
    """A layer of `SampledPropagation` from a block of both relations.

    Args:
        block: as `dgl.to_block` makes it, of `interacts` and `interacted_by`.
        fanout: neighbours that were drawn of each node; -1 is all.
        degrees: of the nodes of the block.
        eps: added to degrees.
    """

    def relation(etype: Etype) -> SampledRelation:
        source, _, destination = etype
        src = degrees(source, block.srcnodes[source].data[dgl.NID])
        dst = degrees(destination, block.dstnodes[destination].data[dgl.NID])
        # Excluded edges are dropped after the draw, so what is left stands for the same share.
        drawn_of = (dst / fanout).clamp_min(1.0) if fanout > 0 else 1.0
        indptr, indices, _ = block.adj_tensors("csc", etype)
        to = ((dst + eps).rsqrt() * drawn_of).repeat_interleave(indptr.diff())
        weights = to * (src + eps).rsqrt()[indices]
        arrays = (indptr.numpy(), indices.numpy(), weights.numpy())
        return SampledRelation.from_csr(*arrays, len(src))

    return SampledLayer(relation(REVERSE), relation(EDGE))


def edges_into(
    cluster: Cluster, seeds: dict[str, Tensor], fanout: int, etypes: Sequence[Etype]
) -> dict[Etype, tuple[Tensor, Tensor]]:
    """Edges into some nodes, as sources and destinations of each edge type.

    Args:
        cluster: where the graph lies.
        seeds: node type -> places.
        fanout: edges to draw of each node and type; -1 takes all.
        etypes: the types to draw.
    """
    graph = cluster.graph
    fanouts = {etype: fanout if etype in etypes else 0 for etype in graph.canonical_etypes}
    found = graph.sample_neighbors(seeds, fanouts)
    none = torch.empty(0, dtype=torch.int64)
    return {
        etype: found.edges(etype=etype) if etype in found.canonical_etypes else (none, none)
        for etype in etypes
    }
