"""Item-item graphs of content: frozen ones of the raw features, and one that is refined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..errors import ConfigError
from ..graphs.adjacency import NO_EPS, Adjacency
from ..graphs.dgl_import import DGLGraph
from ..graphs.item_blocks import ItemHops
from ..graphs.knn import feature_knn
from ..graphs.sparse_pattern import SparsePattern, normalised_by_row_sums

PREFIX = "similar_"


class ItemGraphs(nn.ModuleDict):
    """`S = sum_m w_m S_m` over the kNN graphs of the modalities (FREEDOM, eq. 3-5).

    Each `S_m` is binary and scaled by the degrees of its rows, so with k neighbours in every row
    all entries are `1 / k`. The modalities' graphs are the entries of this dictionary.

    Args:
        graph: heterograph with one `similar_<modality>` each.
        weights: weights w_m by modality name, scaled to sum one; equal if None.

    Raises:
        ConfigError: the weights name other modalities, or are negative or all zero.
    """

    def __init__(self, graph: DGLGraph, weights: Mapping[str, float] | None = None) -> None:
        relations = [etype for etype in graph.etypes if etype.startswith(PREFIX)]
        super().__init__(
            {
                etype.removeprefix(PREFIX): Adjacency.from_graph(graph, etype, norm="dst_both")
                for etype in relations
            }
        )
        self._weights = normalised_weights(weights, tuple(self))

    def forward(self, item: Tensor) -> Tensor:
        """The product with `item`, `(n_items, dim)`."""
        (name, graph), *others = self.items()
        total = self._weights[name] * graph(item)
        for name, graph in others:
            total = torch.add(total, graph(item), alpha=self._weights[name])
        return total

    def hops(self, n_layers: int) -> ItemHops:
        """`S^n` for sampled blocks."""
        graphs = [(self._weights[name], cast(Adjacency, graph)) for name, graph in self.items()]
        return ItemHops(graphs, n_layers)


class CosineGraph(nn.Module):
    """The cosines of a table over the edges of a kNN graph, over the row sums of both ends.

    `S_ij = w_ij / sqrt(sum_k w_ik sum_k w_jk)`, w the cosine of i and its neighbour j, in the
    precision of the table.

    Args:
        graph: heterograph.
        etype: relation from neighbours to the items whose neighbours they are, the nearest first.
        table: `(n_items, d)`.
        n_neighbors: neighbours of an item that are kept; None is all that the graph holds.

    Attributes:
        present: ids of the items that have neighbours.

    Raises:
        ConfigError: the graph does not have the relation, or fewer neighbours than are to be kept.
    """

    values: Tensor
    present: Tensor

    def __init__(
        self, graph: DGLGraph, etype: str, table: Tensor, n_neighbors: int | None = None
    ) -> None:
        super().__init__()
        if etype not in graph.etypes:
            raise ConfigError(f"the graph has no relation '{etype}', which this backbone needs")
        cols, rows = graph.edges(etype=etype, order="eid")
        if n_neighbors is not None:
            nearest = _nearest(rows, len(table), n_neighbors, etype)
            cols, rows = cols[nearest], rows[nearest]
        n, unit = len(table), normalize(table.detach())
        self.pattern = SparsePattern(rows, cols, n, n)
        values = normalised_by_row_sums(self.pattern.dot(unit, unit), rows, cols, n)
        self.register_buffer("values", values, persistent=False)
        self.register_buffer("present", rows.unique(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The product with `x`, `(n_items, dim)`."""
        return self.pattern(self.values, x)


class UnionGraph(nn.Module):
    """The edges of several graphs, each with the largest value that one of them gives it.

    Args:
        graphs: over the same items; where both ends of an edge are not scaled its value is 0, and
            it is none.
        normalise: whether to scale both ends of every edge by the row sums of the union.
    """

    values: Tensor

    def __init__(self, graphs: Iterable[CosineGraph], *, normalise: bool) -> None:
        super().__init__()
        cells, values = [], []
        for graph in graphs:
            n, there = graph.pattern.n_rows, graph.values != 0
            cells.append((graph.pattern.rows * n + graph.pattern.cols)[there])
            values.append(graph.values[there])
        cell, of = torch.cat(cells).unique(return_inverse=True)
        every = torch.cat(values)
        largest = every.new_zeros(len(cell)).scatter_reduce(
            0, of, every, "amax", include_self=False
        )
        rows, cols = cell // n, cell % n
        if normalise:
            largest = normalised_by_row_sums(largest, rows, cols, n)
        self.pattern = SparsePattern(rows, cols, n, n)
        self.register_buffer("values", largest, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The product with `x`, `(n_items, dim)`."""
        return self.pattern(self.values, x)


class RefinedItemGraph(nn.Module):
    """The kNN graph of content that is learned, after some epochs on the raw graphs.

    It is built once per epoch while training, and anew whenever it is read in evaluation mode, so
    that scores depend on the parameters alone. It is binary and scaled by degrees like
    `ItemGraphs`, and has no gradient.

    Args:
        raw: the graphs of the raw features.
        missing: `(n_items,)` bool, True for items without any content: they stay without edges.
        refine: whether to leave the raw graphs at all.
        warm_epochs: first epochs that use the raw graphs. The count of epochs is then kept in the
            frozen parameter `epochs_begun`, for resumed runs and evaluations.
        n_neighbors: neighbours of each item.
        include_self: whether an item may be its own neighbour.
    """

    missing: Tensor

    def __init__(
        self,
        raw: ItemGraphs,
        missing: Tensor,
        *,
        refine: bool,
        warm_epochs: int,
        n_neighbors: int,
        include_self: bool,
    ) -> None:
        super().__init__()
        self.raw = raw
        self.refine = refine
        self.warm_epochs = warm_epochs if refine else 0
        self.n_neighbors = n_neighbors
        self.include_self = include_self
        self.of_epoch: nn.Module | None = None
        self.register_buffer("missing", missing, persistent=False)
        if self.warm_epochs > 0:
            self.epochs_begun = nn.Parameter(torch.zeros(()), requires_grad=False)

    def begin_epoch(self, content: Tensor) -> None:
        """Build the graph of this epoch from `content` `(n_items, dim)`."""
        if self.warm_epochs > 0:
            self.epochs_begun.add_(1)
        self.of_epoch = self.build(content)

    def forward(self, content: Tensor, item: Tensor, n_layers: int) -> Tensor:
        """`S^n item`, `(n_items, dim)`, with the graph of the epoch or of `content`."""
        graph = self.of_epoch if self.training else None
        if graph is None:
            graph = self.build(content)
        for _ in range(n_layers):
            item = graph(item)
        return item

    def build(self, content: Tensor) -> nn.Module:
        """The graph that stands for `content` `(n_items, dim)`, the raw ones while they are due."""
        if not self.refine:
            return self.raw
        if self.warm_epochs > 0 and int(self.epochs_begun) <= self.warm_epochs:
            return self.raw
        ids, _ = feature_knn(
            content, self.n_neighbors, include_self=self.include_self, missing=self.missing
        )
        item, place = torch.nonzero(ids >= 0, as_tuple=True)
        n, neighbor = len(content), ids[item, place]
        graph = Adjacency.from_edges(neighbor, item, n, n, norm="dst_both", eps=NO_EPS)
        return graph.to(content.device)


def _nearest(rows: Tensor, n: int, k: int, etype: str) -> Tensor:
    """Positions of the first `k` edges of each row, for edges that come nearest first."""
    degree = torch.bincount(rows, minlength=n)
    held = int(degree.max()) if len(rows) else 0
    if held < min(k, int((degree > 0).sum())):
        raise ConfigError(
            f"n_neighbors asks for {k} neighbours in '{etype}', but the graph holds {held}: set "
            f"graph.knn_k to {k} at least"
        )
    order = rows.argsort(stable=True)
    start = degree.cumsum(0) - degree
    place = torch.empty_like(rows)
    place[order] = torch.arange(len(rows)) - start[rows[order]]
    return (place < k).nonzero().squeeze(1)


def normalised_weights(
    weights: Mapping[str, float] | None, names: tuple[str, ...]
) -> dict[str, float]:
    """Weights of the item graphs that sum to one, equal where none are given."""
    given = dict(weights) if weights else dict.fromkeys(names, 1.0)
    if set(given) != set(names):
        raise ConfigError(
            f"modality_weights names {sorted(given)}, but the item graphs are {sorted(names)}: "
            "give one weight for each"
        )
    total = sum(given.values())
    if total <= 0 or min(given.values()) < 0:
        raise ConfigError(f"modality_weights {given} must be non-negative and not all zero")
    return {name: weight / total for name, weight in given.items()}
