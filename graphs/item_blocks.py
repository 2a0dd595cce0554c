"""The part of graphs between items that the representations of a few items need.

A kNN graph has few edges into each item, so all of them are taken and nothing is drawn: the rows
are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .adjacency import Adjacency, SampledRelation


class ItemLayers(nn.Module):
    """`S^n x` at a few items, from the rows of those that it reads.

    Args:
        layers: the widest first. The items of a layer are the first of those it reads.
        n_seeds: the first items read, for which the product is asked.
    """

    def __init__(self, layers: Sequence[SampledRelation], n_seeds: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.n_seeds = n_seeds

    def forward(self, item: Tensor) -> Tensor:
        """`(n_items, dim)` of the items read, to `(n_seed_items, dim)`."""
        for layer in self.layers:
            item = layer(item)
        return item[: self.n_seeds]


class ItemHops:
    """`S^n`, `S = sum_m w_m S_m`, cut to what some items need.

    Args:
        graphs: the weights `w_m` and the matrices `S_m` between items.
        n_layers: the power n.
    """

    def __init__(self, graphs: Sequence[tuple[float, Adjacency]], n_layers: int) -> None:
        self.graphs: Sequence[ItemRows] = [_Rows(graph, weight) for weight, graph in graphs]
        self.n_layers = n_layers

    @classmethod
    def of(cls, graphs: Sequence[ItemRows], n_layers: int) -> ItemHops:
        """The power `n_layers` of the sum of matrices whose rows are read otherwise."""
        hops = cls((), n_layers)
        hops.graphs = graphs
        return hops

    def around(self, seeds: Tensor, at_hand: Tensor) -> tuple[Tensor, ItemLayers]:
        """What the seeds need.

        Args:
            seeds: `(n_seeds,)` distinct ids.
            at_hand: `(n,)` distinct ids of items whose rows are read anyway, the seeds first.

        Returns:
            Ids of the items whose rows are read, `at_hand` first, and the layers from their rows
            to those of the seeds.
        """
        hops, edges = [seeds], []
        for _ in range(self.n_layers):
            edges.append(self._edges_into(hops[-1]))
            hops.append(_with_others(hops[-1], edges[-1][0].unique()))
        items = hops[-1] = _with_others(at_hand, hops[-1])
        layers = [
            _between(hops[n + 1], len(hops[n]), *edges[n]) for n in reversed(range(self.n_layers))
        ]
        return items, ItemLayers(layers, len(seeds))

    def _edges_into(self, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sources of the edges of all graphs into `items`, positions of their ends, and weights."""
        found = [graph.edges_into(items) for graph in self.graphs]
        weights = [
            graph.weights(source, items, end)
            for graph, (source, end) in zip(self.graphs, found, strict=True)
        ]
        sources, ends = (torch.cat(part) for part in zip(*found, strict=True))
        return sources, ends, torch.cat(weights)


def _between(
    sources: Tensor, n_ends: int, source: Tensor, end: Tensor, weights: Tensor
) -> SampledRelation:
    """The edges as a matrix from the rows of the distinct `sources`."""
    in_order, order = sources.sort()
    place = order[torch.searchsorted(in_order, source)]
    return SampledRelation.from_edges(place, end, weights, len(sources), n_ends)


class ItemRows:
    """The rows of one weighted matrix between items.

    Args:
        weight: of the matrix.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def edges_into(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Sources of the edges into `items` `(n,)`, and the positions of their ends there."""
        raise NotImplementedError

    def scales(self, sources: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of the columns `sources` and, with the weight, of the rows `items`."""
        raise NotImplementedError

    def weights(self, source: Tensor, items: Tensor, end: Tensor) -> Tensor:
        """Of the edges that `edges_into` gives."""
        of_sources, of_items = self.scales(source, items)
        return of_sources * of_items[end]


class _Rows(ItemRows):
    """The rows of a matrix in memory, on the CPU."""

    def __init__(self, graph: Adjacency, weight: float) -> None:
        super().__init__(weight)
        kernel, ones = graph.kernel(torch.float64), torch.ones(graph.n_dst, 1)
        self.indptr, self.indices = graph.indptr.cpu().long(), graph.indices.cpu()
        self.src_scale = (ones if kernel.src_scale is None else kernel.src_scale).cpu()[:, 0]
        dst_scale = ones if kernel.dst_scale is None else kernel.dst_scale
        self.dst_scale = weight * dst_scale.cpu()[:, 0]

    def edges_into(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Sources of the edges into `items` `(n,)`, and the positions of their ends there."""
        first, last = self.indptr[items], self.indptr[items + 1]
        ends = torch.arange(len(items)).repeat_interleave(last - first)
        # The edges of an item lie together: from its first in the list to its first in the matrix.
        shift = last - (last - first).cumsum(0)
        return self.indices[torch.arange(len(ends)) + shift[ends]].long(), ends

    def scales(self, sources: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """As the matrix has them."""
        return self.src_scale[sources], self.dst_scale[items]


def _with_others(ids: Tensor, more: Tensor) -> Tensor:
    """The distinct `ids`, then those of the distinct `more` that are not among them."""
    return torch.cat((ids, more[~torch.isin(more, ids)]))
