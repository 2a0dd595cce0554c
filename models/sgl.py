"""SGL: LightGCN with a contrast between two edge-dropped views of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from ..errors import ConfigError
from ..graphs.dgl_import import DGLGraph
from ..graphs.edge_draws import degree_scale, weighted_draw
from ..graphs.propagation import BipartitePropagation
from ..tensors.ids import Repeated, joined
from ..tensors.representations import Representations
from ..tensors.tables import xavier_table
from .base import BACKBONES, Backbone, Batch
from .contrast import cosine_contrast, padded_contrast
from .objectives import batch_regulariser, batch_rows, bpr_loss

Views = tuple[BipartitePropagation, BipartitePropagation]


@BACKBONES.register("sgl", paper="Wu et al., SGL, SIGIR 2021")
class SGL(Backbone):
    """LightGCN whose nodes shall look alike in two views that lack some edges (SGL-ED).

    Each view keeps `int(E (1 - rho))` edges drawn without replacement and is normalised with the
    degrees that are left (eq. 6); the contrast is InfoNCE with cosines between a node's two
    propagated rows (eq. 10), and the total is BPR + `reg_weight` * (users + items) (eq. 11).

    `views="batch"` is the multi-modal community's port (DA-MRS), which the comparisons use: new
    views for each batch, edges kept with probability proportional to `1 / sqrt(d_u d_i)`, the
    distinct users and the distinct positive and negative items of the batch as anchors and
    candidates, mean over anchors. `views="epoch"` is the authors' rule: uniform draws once per
    epoch, the batch's users and positive items as anchors (repeated ones count again), all nodes
    as candidates. The authors sum both BPR and contrast over the batch; here both are means, which
    keeps their ratio.

    Args:
        graph: heterograph with the relation `interacts`.
        features: ignored.
        dim: embedding size.
        n_layers: propagation layers, in the views too.
        reg_weight: weight of the contrast.
        temperature: divisor of the cosines.
        view1_dropout: share of edges that the first view lacks.
        view2_dropout: share of edges that the second view lacks; the authors use 0.1 for both.
        views: `batch` or `epoch`, the rule that views and candidates follow.
        l2_weight: weight of half the squared norm of the un-propagated rows of the batch, per
            pair; 1e-4 in the paper, absent from the port.
        eps: constant that the port adds to the denominator and inside the logarithm (1e-9); only
            with `views="batch"`.
    """

    edge_users: Tensor
    edge_items: Tensor
    edge_scale: Tensor

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 2,
        reg_weight: NonNegativeFloat = 0.1,
        temperature: PositiveFloat = 0.2,
        view1_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        view2_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        views: Literal["batch", "epoch"] = "batch",
        l2_weight: NonNegativeFloat = 0.0,
        eps: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__()
        if eps > 0 and views == "epoch":
            raise ConfigError("eps belongs to views='batch': set eps=0 with views='epoch'")
        self.representation_dim = dim
        self.n_layers = n_layers
        self.reg_weight = reg_weight
        self.temperature = temperature
        self.dropouts = (view1_dropout, view2_dropout)
        self.views = views
        self.l2_weight = l2_weight
        self.eps = eps
        self.n_nodes = (graph.num_nodes("user"), graph.num_nodes("item"))
        users, items = graph.edges(etype="interacts", order="eid")
        self.register_buffer("edge_users", users, persistent=False)
        self.register_buffer("edge_items", items, persistent=False)
        self.register_buffer("edge_scale", degree_scale(users, items), persistent=False)
        self.propagation = BipartitePropagation.from_graph(graph)
        self.epoch_view1 = self.epoch_view2 = self.propagation
        self.user_embedding = xavier_table(self.n_nodes[0], dim)
        self.item_embedding = xavier_table(self.n_nodes[1], dim)

    def begin_epoch(self, rng: torch.Generator) -> None:
        """Draw the views of this epoch, uniformly, if the rule is `epoch`."""
        if self.views == "epoch" and self.reg_weight > 0:
            n_edges = len(self.edge_users)
            self.epoch_view1, self.epoch_view2 = (
                self.view(torch.randperm(n_edges, generator=rng)[: self._n_kept(dropout)])
                for dropout in self.dropouts
            )

    def current_views(self) -> Views:
        """The epoch's views, or new ones by torch's global generator if the rule is `batch`."""
        if self.views == "epoch":
            return self.epoch_view1, self.epoch_view2
        first, second = (
            self.view(weighted_draw(self.edge_scale, self._n_kept(dropout)))
            for dropout in self.dropouts
        )
        return first, second

    def view(self, kept: Tensor) -> BipartitePropagation:
        """Propagation over the edges at positions `kept` `(n_kept,)` of `interacts`."""
        kept = kept.to(self.edge_users.device)
        return BipartitePropagation.from_edges(
            self.edge_users[kept], self.edge_items[kept], *self.n_nodes
        )

    def _n_kept(self, dropout: float) -> int:
        return int(len(self.edge_users) * (1.0 - dropout))

    def forward(self) -> Representations:
        """Propagated tables on the whole graph, `(n_users, dim)` and `(n_items, dim)`."""
        return self._propagate(self.propagation)

    def _propagate(self, propagation: BipartitePropagation) -> Representations:
        return Representations(
            *propagation(self.user_embedding, self.item_embedding, self.n_layers)
        )

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, `cl_user` and `cl_item`, and `l2` if it has a weight."""
        terms = {"bpr": bpr_loss(batch_rows(*representations, batch), eps=0)}
        if self.reg_weight > 0:
            first, second = (self._propagate(view) for view in self.current_views())
            users, items = self._anchors(batch)
            for name, ids, one, other in (
                ("cl_user", users, first.user, second.user),
                ("cl_item", items, first.item, second.item),
            ):
                terms[name] = self.reg_weight / len(ids) * self._contrast(ids, one, other)
        if self.l2_weight > 0:
            ego = batch_rows(self.user_embedding, self.item_embedding, batch)
            terms["l2"] = self.l2_weight * batch_regulariser(ego)
        return terms

    def _anchors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Users and items whose two views are contrasted."""
        if self.views == "epoch":
            return batch.users, batch.items
        items = joined(batch.items, batch.negatives)
        return Repeated.of_batch(batch.users).ids, Repeated.of_batch(items).ids

    def _contrast(self, ids: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """InfoNCE of rows `ids` between the tables of two views, summed."""
        anchors = first.index_select(0, ids)
        if self.views == "epoch":
            return cosine_contrast(anchors, second, ids, self.temperature)
        candidates = second.index_select(0, ids)
        if self.eps > 0:
            return padded_contrast(anchors, candidates, self.temperature, self.eps)
        places = torch.arange(len(ids), device=ids.device)
        return cosine_contrast(anchors, candidates, places, self.temperature)
