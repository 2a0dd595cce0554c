"""Graphs between items that lie on several hosts."""

from __future__ import annotations

import torch
from torch import Tensor

from ..graphs.item_blocks import ItemHops, ItemRows
from ..models.base import Backbone
from .blocks import edges_into
from .cluster import Cluster
from .partition import SIMILAR

EPS = 1e-7
"""Added to degrees, as `Adjacency` does."""


def item_hops(backbone: Backbone, cluster: Cluster) -> ItemHops | None:
    """The graphs between items of `backbone`, read from the hosts; None if it has none.

    They are those of the modalities, in order, each scaled by the degrees of both ends as rows.
    """
    own = backbone.block_graph().similar
    if own is None:
        return None
    names = [etype for etype in cluster.graph.etypes if etype.startswith(SIMILAR)]
    weights = [rows.weight for rows in own.graphs]
    graphs = [
        RemoteItemRows(cluster, name, weight) for name, weight in zip(names, weights, strict=True)
    ]
    return ItemHops.of(graphs, own.n_layers)


class RemoteItemRows(ItemRows):
    """The rows of one weighted matrix between items, wherever they lie.

    Args:
        cluster: where.
        name: edge type.
        weight: of the matrix.
    """

    def __init__(self, cluster: Cluster, name: str, weight: float) -> None:
        super().__init__(weight)
        self.cluster = cluster
        self.etype = ("item", name, "item")
        self._degree = cluster.data("item", f"degree_{name}")

    def edges_into(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Sources of the edges into `items` `(n,)`, and the positions of their ends there."""
        found = edges_into(self.cluster, {"item": items}, -1, [self.etype])
        source, end = found[self.etype]
        in_order, order = items.sort()
        return source, order[torch.searchsorted(in_order, end)]

    def scales(self, sources: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """`degree^-1/2` of both; 0 for a source that is no row."""
        of, to = (self._degree[ids].double() for ids in (sources, items))
        return (of + EPS).rsqrt().masked_fill(of == 0, 0.0), self.weight * (to + EPS).rsqrt()

    def weights(self, source: Tensor, items: Tensor, end: Tensor) -> Tensor:
        """Of the edges that `edges_into` gives; the degree of a source is fetched once."""
        distinct, of = source.unique(return_inverse=True)
        of_sources, of_items = self.scales(distinct, items)
        return of_sources[of] * of_items[end]
