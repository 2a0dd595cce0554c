"""Sampled blocks: the part of the user-item graph that the representations of a few nodes need.

DGL's neighbour sampler draws, around the nodes of a batch, some neighbours of each, some neighbours
of those, and so on; its edge loader cuts the edges into batches. Propagation over such blocks has
the call of propagation over the whole graph, so backbones use either.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .adjacency import Adjacency, SampledRelation
from .dgl_import import DGLGraph, dgl
from .engines import CSR
from .item_blocks import ItemHops, ItemLayers

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
        # Horner form, acc = x + A acc, of the sum of A^l x
        acc_user, acc_item = user, item[: self.n_items]
        for layer in self.layers:
            to_user, to_item = layer(acc_user, acc_item)
            acc_user, acc_item = user[: len(to_user)] + to_user, item[: len(to_item)] + to_item
        return acc_user / (n_layers + 1), acc_item / (n_layers + 1)

    def similar(self, item: Tensor) -> Tensor:
        """`S^n item` at the seed items, `S` the backbone's graphs between items.

        Args:
            item: `(n_items, dim)`, rows of all the view's items.
        """
        if self.item_layers is None:
            raise ValueError("no graph between items was sampled: the sampler was given none")
        return self.item_layers(item)


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
    """Draws views of a user-item graph with DGL's neighbour sampler and edge loader.

    Draws come from DGL's own generator (`dgl.seed`) and use one thread: with several threads they
    would depend on how many there are.

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
        self._whole = dgl.edge_type_subgraph(graph, [EDGE, REVERSE])
        self.graph = self._whole.formats("csc")
        self.fanouts = tuple(fanouts)
        self.exclude = exclude
        self.eps = eps
        # The fused sampler of DGL orders nodes as its threads arrive.
        self._sampler = dgl.dataloading.NeighborSampler(list(reversed(fanouts)), fused=False)
        self.draw_from()

    def draw_from(self, kept: Tensor | None = None, similar: ItemHops | None = None) -> None:
        """Draw from now on among some of the edges.

        Args:
            kept: `(n_kept,)` distinct ids of the edges to draw among; None is all of them.
            similar: graphs between items, for backbones that have them.
        """
        self.similar = similar
        self._drawn_from, self._place = self.graph, None
        if kept is not None:
            part = dgl.edge_subgraph(self._whole, {EDGE: kept, REVERSE: kept}, relabel_nodes=False)
            self._drawn_from = part.formats("csc")
            self._place = torch.full((self._whole.num_edges(EDGE),), -1)
            self._place[kept] = torch.arange(len(kept))
        self._degree = {
            destination: self._drawn_from.in_degrees(etype=(source, relation, destination)).double()
            for source, relation, destination in (EDGE, REVERSE)
        }

    def load(self, edges: Tensor, batch_size: int, seeds: Seeds) -> Iterator[tuple[Tensor, View]]:
        """The edges in batches, in their order, each with the view of what `seeds` asks for.

        Args:
            edges: `(n,)` ids of `interacts` edges.
            batch_size: edges per batch; the last one may be smaller.
            seeds: names the users and items of a batch.
        """
        loader = dgl.dataloading.DataLoader(
            self.graph,
            edges,
            _EdgeSampler(self, seeds),
            batch_size=batch_size,
            shuffle=False,
            generator=torch.Generator(),  # else torch's own moves on, for a seed that none reads
        )
        with warnings.catch_warnings():  # advice on binding processors, at every start
            warnings.filterwarnings("ignore", message="Dataloader CPU affinity")
            return iter(loader)

    def view(self, users: Tensor, items: Tensor, excluded: Tensor | None = None) -> View:
        """Draw around `users` and `items`, both distinct and sorted.

        Args:
            users: `(n_seed_users,)` int64.
            items: `(n_seed_items,)` int64.
            excluded: ids of edges that are left out in both directions.
        """
        left_out = None if excluded is None else self._edge_ids(excluded)
        seeds = {"user": users, "item": items}
        with _one_thread():
            read, _, blocks = self._sampler.sample_blocks(self._drawn_from, seeds, left_out)
        fanouts = reversed(self.fanouts)
        layers = [
            sampled_layer(block, k, lambda kind, ids: self._degree[kind][ids], eps=self.eps)
            for block, k in zip(blocks, fanouts, strict=True)
        ]
        items_read, similar = read["item"], None
        if self.similar is not None:
            items_read, similar = self.similar.around(items, items_read)
        propagation = SampledPropagation(layers, len(read["item"]), similar)
        return View(read["user"], items_read, len(users), len(items), propagation)

    def _edge_ids(self, excluded: Tensor) -> dict[tuple[str, str, str], Tensor]:
        """Ids of `excluded` edges and their reverses in the graph that is drawn from."""
        if self._place is not None:
            excluded = self._place[excluded]
            excluded = excluded[excluded >= 0]
        edges = {EDGE: excluded.clone()}  # DGL sorts them where they are
        return dgl.dataloading.find_exclude_eids(
            self._drawn_from, edges, "reverse_types", reverse_etypes={EDGE: REVERSE}
        )


Degrees = Callable[[str, Tensor], Tensor]
"""Node type and ids `(n,)` -> `(n,)` float64, their degrees in the graph that is drawn from."""


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

    def relation(etype: tuple[str, str, str]) -> SampledRelation:
        source, _, destination = etype
        src = degrees(source, block.srcnodes[source].data[dgl.NID])
        dst = degrees(destination, block.dstnodes[destination].data[dgl.NID])
        indptr, indices, _ = block.adj_tensors("csc", etype)
        by_dst = CSR(indptr, indices, len(src))
        indptr, indices, _ = block.adj_tensors("csr", etype)
        by_src = CSR(indptr, indices, len(dst))
        # Excluded edges are dropped after the draw, so what is left stands for the same share.
        drawn_of = (dst / fanout).clamp_min(1.0) if fanout > 0 else 1.0
        return SampledRelation(
            Adjacency(by_dst, by_src, norm="none", engine="auto", eps=0.0),
            (src + eps).rsqrt(),
            (dst + eps).rsqrt() * drawn_of,
        )

    return SampledLayer(relation(REVERSE), relation(EDGE))


class _EdgeSampler:
    """What DGL's edge loader asks for each batch of edges."""

    def __init__(self, sampler: BlockSampler, seeds: Seeds) -> None:
        self.sampler = sampler
        self.seeds = seeds

    def sample(self, graph: DGLGraph, edges: Tensor) -> tuple[Tensor, View]:
        """The edges and their view."""
        excluded = edges if self.sampler.exclude else None
        return edges, self.sampler.view(*self.seeds(edges), excluded)


@contextmanager
def _one_thread() -> Iterator[None]:
    """DGL on one thread, within the block."""
    before = dgl.utils.get_num_threads()
    dgl.utils.set_num_threads(1)
    try:
        yield
    finally:
        dgl.utils.set_num_threads(before)
