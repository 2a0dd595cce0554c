"""Sampled blocks: the part of the user-item graph that the representations of a few nodes need.

Around the nodes of a batch some neighbours of each are drawn, some neighbours of those, and so on.
Propagation over such blocks has the call of propagation over the whole graph, so backbones use
either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..tensors.functional import first_order
from .adjacency import SampledRelation, checked_rows
from .item_blocks import ItemHops, ItemLayers
from .neighbor_draws import Ids, InEdges, Places

if TYPE_CHECKING:
    from .dgl_import import DGLGraph

EDGE = ("user", "interacts", "item")
REVERSE = ("item", "interacted_by", "user")
Seeds = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Edge ids `(n,)` -> the distinct, sorted users and items whose representations they need."""


class SampledLayer(nn.Module):
    """One layer of messages to users and to items.

    Its destinations are the first of its sources, in the same order.
    """

    def __init__(self, to_user: SampledRelation, to_item: SampledRelation) -> None:
        super().__init__()
        self.to_user = to_user
        self.to_item = to_item

    def forward(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Messages `(n_dst_users, dim)` and `(n_dst_items, dim)` from rows of all sources."""
        return self.to_user(item), self.to_item(user)


class SampledPropagation(nn.Module):
    """`BipartitePropagation` over sampled blocks: takes the rows read, gives those of the seeds.

    Edges have the values `(deg(u) deg(i))^-1/2` of the whole graph. A node of which `k` of its
    `deg` neighbours were drawn counts each of them `deg / k` times, so every product, and with
    layers drawn independently of each other the mean of the layers, is an unbiased estimate of
    the one over the whole graph. With all neighbours it is equal to it.

    Args:
        layers: the widest first.
        n_items: the first items of the view, which the widest layer reads; the graphs between
            items may read more.
        similar: layers of the graphs between items, for backbones that have them.
    """

    def __init__(
        self, layers: Sequence[SampledLayer], n_items: int, similar: ItemLayers | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.n_items = n_items
        self.item_layers = similar

    def forward(self, user: Tensor, item: Tensor, n_layers: int) -> tuple[Tensor, Tensor]:
        """Mean of layers `0 .. n_layers`.

        Args:
            user: `(n_users, dim)`, layer 0 of the view's users.
            item: `(n_items, dim)`, layer 0 of the view's items.
            n_layers: number of layers; as many as were sampled.

        Returns:
            Rows of the seeds, `(n_seed_users, dim)` and `(n_seed_items, dim)`.
        """
        if n_layers != len(self.layers):
            raise ValueError(f"{len(self.layers)} layers were sampled, not {n_layers}")
        if not n_layers:
            return user, item[: self.n_items]
        widest = cast(SampledLayer, self.layers[0])
        user = checked_rows(user, widest.to_item.n_src)
        if len(item) > self.n_items:
            item = item[: self.n_items]
        item = checked_rows(item, widest.to_user.n_src)
        return _SampledMean.apply(user, item, tuple(self.layers))

    def similar(self, item: Tensor) -> Tensor:
        """`S^n item` at the seed items, `S` the backbone's graphs between items.

        Args:
            item: `(n_items, dim)`, rows of all the view's items.
        """
        if self.item_layers is None:
            raise ValueError("no graph between items was sampled: the sampler was given none")
        return self.item_layers(item)


class _SampledMean(torch.autograd.Function):
    """Mean of the layers of `SampledPropagation`, of which nothing is saved.

    Horner form, `acc = x + A acc`, of the sum of `A^l x`. Backwards, the adjoint of a layer gives
    the gradient of what it read, to whose first rows that of its own rows is added in place.
    """

    @staticmethod
    def forward(
        ctx: Any, user: Tensor, item: Tensor, layers: tuple[SampledLayer, ...]
    ) -> tuple[Tensor, Tensor]:
        ctx.layers = layers
        acc_user, acc_item = user, item
        for layer in layers:
            to_user, to_item = layer.to_user.product(acc_item), layer.to_item.product(acc_user)
            acc_user, acc_item = (
                to_user.add_(user[: len(to_user)]),
                to_item.add_(item[: len(to_item)]),
            )
        n = len(layers) + 1
        return acc_user.div_(n), acc_item.div_(n)

    @staticmethod
    @first_order
    def backward(ctx: Any, to_user: Tensor, to_item: Tensor) -> tuple[Tensor, Tensor, None]:
        n = len(ctx.layers) + 1
        grad_user, grad_item = to_user / n, to_item / n
        of_layers = []
        for layer in reversed(ctx.layers):
            of_layers.append((grad_user, grad_item))
            grad_user, grad_item = (
                layer.to_item.adjoint(grad_item),
                layer.to_user.adjoint(grad_user),
            )
        for own_user, own_item in of_layers:
            grad_user[: len(own_user)] += own_user
            grad_item[: len(own_item)] += own_item
        return grad_user, grad_item, None


@dataclass(frozen=True)
class View:
    """The nodes and edges from which the representations of some seeds are computed.

    Attributes:
        users: `(n_users,)` ids of the users whose rows are read; the seeds first, sorted.
        items: `(n_items,)` likewise; then those that only graphs between items read.
        n_seed_users: how many of `users` are seeds.
        n_seed_items: how many of `items` are seeds.
        propagation: from rows of `users` and `items` to rows of the seeds.
    """

    users: Tensor
    items: Tensor
    n_seed_users: int
    n_seed_items: int
    propagation: SampledPropagation

    @property
    def seed_users(self) -> Tensor:
        """`(n_seed_users,)` sorted ids."""
        return self.users[: self.n_seed_users]

    @property
    def seed_items(self) -> Tensor:
        """`(n_seed_items,)` sorted ids."""
        return self.items[: self.n_seed_items]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> View:
        """The view on `device`."""
        users = self.users.to(device, non_blocking=non_blocking)
        items = self.items.to(device, non_blocking=non_blocking)
        propagation = self.propagation.to(device, non_blocking=non_blocking)
        return View(users, items, self.n_seed_users, self.n_seed_items, propagation)


class BlockSampler:
    """Draws views of a user-item graph.

    Draws come from one generator and are made by one thread: they follow the seed, and not the
    number of threads. Ids have 32 bits where they fit.

    Args:
        graph: heterograph with `interacts` and `interacted_by`, edges of both in the same order.
        fanouts: neighbours to draw of each node, a number for each layer from the seeds outward;
            -1 takes all.
        exclude: leave the edges of a batch out of its own view.
        eps: added to degrees, as in `BipartitePropagation`.
    """

    def __init__(
        self,
        graph: DGLGraph,
        fanouts: Sequence[int],
        *,
        exclude: bool = True,
        eps: float = 1e-7,
    ) -> None:
        self._every = {d: InEdges.of_graph(graph, (s, r, d)) for s, r, d in (EDGE, REVERSE)}
        self._places = {kind: Places(graph.num_nodes(kind)) for kind in ("user", "item")}
        of_edges = (ends.numpy() for ends in graph.edges(order="eid", etype=EDGE))
        self._ends = dict(zip(("user", "item"), of_edges, strict=True))
        self.fanouts = tuple(fanouts)
        self.exclude = exclude
        self.eps = eps
        self.draw_from()

    def draw_from(
        self, kept: Tensor | None = None, similar: ItemHops | None = None, *, seed: int = 0
    ) -> None:
        """Draw from now on among some of the edges.

        Args:
            kept: `(n_kept,)` distinct ids of the edges to draw among; None is all of them.
            similar: graphs between items, for backbones that have them.
            seed: of all draws that follow.
        """
        self._rng = np.random.default_rng(seed)
        self.similar = similar
        self._into = self._every
        if kept is not None:
            self._into = {kind: into.kept(kept.numpy()) for kind, into in self._every.items()}
        degrees = {kind: into.degrees() for kind, into in self._into.items()}
        self._degree = {kind: degree.astype(np.float64) for kind, degree in degrees.items()}
        self._scale = {kind: (degree + self.eps) ** -0.5 for kind, degree in self._degree.items()}

    def load(self, edges: Tensor, batch_size: int, seeds: Seeds) -> Iterator[tuple[Tensor, View]]:
        """The edges in batches, in their order, each with the view of what `seeds` asks for.

        Args:
            edges: `(n,)` ids of `interacts` edges.
            batch_size: edges per batch; the last one may be smaller.
            seeds: names the users and items of a batch.
        """
        for batch in edges.split(batch_size):
            yield batch, self.view(*seeds(batch), batch if self.exclude else None)

    def view(self, users: Tensor, items: Tensor, excluded: Tensor | None = None) -> View:
        """Draw around `users` and `items`, both distinct and sorted.

        Args:
            users: `(n_seed_users,)` int64.
            items: `(n_seed_items,)` int64.
            excluded: ids of edges that are left out in both directions: they keep their place among
                the drawn ones, and weigh nothing.
        """
        left_out = None if excluded is None else excluded.numpy()
        nodes = {"user": users.numpy(), "item": items.numpy()}
        layers: list[SampledLayer] = []
        for k in self.fanouts:
            nodes, layer = self._layer(nodes, k, left_out)
            layers.insert(0, layer)
        read_users, read_items = (torch.from_numpy(nodes[kind]) for kind in ("user", "item"))
        n_items, similar = len(read_items), None
        if self.similar is not None:
            read_items, similar = self.similar.around(items, read_items)
        propagation = SampledPropagation(layers, n_items, similar)
        return View(read_users, read_items, len(users), len(items), propagation)

    def _layer(
        self, ends: Mapping[str, Ids], k: int, left_out: Ids | None
    ) -> tuple[dict[str, Ids], SampledLayer]:
        """All nodes that the layer to `ends` reads, and the layer."""
        drawn = {kind: self._into[kind].draw(ends[kind], k, self._rng) for kind in ends}
        nodes, relations = {}, {}
        for source, end in (("item", "user"), ("user", "item")):
            (indptr, places), into = drawn[end], self._into[end]
            read = into.sources[places]
            nodes[source], positions = self._places[source].number(ends[source], read)
            # Excluded edges are dropped after the draw, so what is left stands for the same share.
            to = self._scale[end][ends[end]]
            if k > 0:
                to = to * np.maximum(self._degree[end][ends[end]] / k, 1.0)
            weights = np.repeat(to, np.diff(indptr)) * self._scale[source][nodes[source]][positions]
            if left_out is not None:
                rows = self._places[end].find(self._ends[end][left_out], ends[end])
                weights[into.found(left_out, rows, indptr, places)] = 0.0
            relations[end] = SampledRelation.from_csr(
                indptr, positions, weights, len(nodes[source])
            )
        return nodes, SampledLayer(relations["user"], relations["item"])
