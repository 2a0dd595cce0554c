"""GRCN: a user-item graph refined by content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ..graphs.dgl_import import DGLGraph
from ..graphs.sparse_pattern import SparsePattern
from ..tensors.functional import unit_rows
from ..tensors.representations import Representations
from ..tensors.tables import xavier, xavier_table
from .base import BACKBONES, Backbone, Batch
from .feature_tables import FeatureTables
from .linear import TableLinear
from .objectives import batch_rows, bpr_loss


class View(NamedTuple):
    """What one modality says of the nodes and of the edges, both ways."""

    user: Tensor
    """`(n_users, dim)`"""
    item: Tensor
    """`(n_items, dim)`"""
    to_user: Tensor
    """`(n_edges,)` attention of the user to the item"""
    to_item: Tensor
    """`(n_edges,)` attention of the item to the user"""


@BACKBONES.register("grcn", paper="Wei et al., GRCN, MM 2020")
class GRCN(Backbone):
    """Collaborative filtering on a user-item graph whose edges are weighed by content.

    In every modality m, users have a preference `p` and items a projected content `f`, both of
    length one. Attention along each edge is a softmax of `<p, f>` among the edges that reach the
    same node; a node's content representation is itself plus the attended neighbours. An edge
    weighs `relu(max_m attention_m confidence_m(source))`; ids pass two sums over the weighted
    graph, `x + A x + A A x` with `x` of length one. Representations are
    `[id ; modality 1 ; modality 2 ; ...]`, so an alignment projects content to that width itself.

    In the paper, routing first moves each preference towards the content of the user's items,
    `p <- unit(p + sum_i softmax_u(<p, f_i>) f_i)`, several times. In the published code the
    messages flow to the items instead and preferences stay as they are; that is the default here.

    Args:
        graph: heterograph with the relation `interacts`.
        features: modality name -> `(n_items, d_m)`.
        dim: width of each block of the representations.
        n_layers: sums over the weighted graph.
        n_routing: routing steps; without effect under `parity`.
        routing: `parity` leaves preferences unrouted, as the published code does; `paper` routes.
        reg_weight: weight of the squared embeddings and preferences, means over all entries.
        all_preferences: regularise the preferences of all users in every modality; the published
            code does so in the first one only, and in the others those of the batch's users.
    """

    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    relations: ClassVar[tuple[str, ...]] = ("interacts",)

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 2,
        n_routing: NonNegativeInt = 3,
        routing: Literal["parity", "paper"] = "parity",
        reg_weight: NonNegativeFloat = 1e-4,
        all_preferences: bool = False,
    ) -> None:
        super().__init__()
        self.representation_dim = dim * (1 + len(features))
        self.n_layers = n_layers
        self.n_routing = n_routing if routing == "paper" else 0
        self.reg_weight = reg_weight
        self.all_preferences = all_preferences
        self.edges = SparsePattern.from_graph(graph)
        n_users, n_items = self.edges.n_rows, self.edges.n_cols
        self.user_embedding = xavier_table(n_users, dim, normal=True)
        self.item_embedding = xavier_table(n_items, dim, normal=True)
        self.user_confidence = xavier_table(n_users, len(features), normal=True)
        self.item_confidence = xavier_table(n_items, len(features), normal=True)
        self.features = FeatureTables(features, trainable=False)
        self.preferences = nn.ParameterDict(
            {name: xavier_table(n_users, dim, normal=True) for name in features}
        )
        self.projectors = nn.ModuleDict(
            {
                name: xavier(TableLinear(len(table), table.shape[1], dim))
                for name, table in features.items()
            }
        )

    def forward(self) -> Representations:
        """`(n_users, (1 + M) dim)` and `(n_items, (1 + M) dim)` for M modalities."""
        views = [self._view(name) for name in self.projectors]
        user, item = self._propagate(*self.edge_weights(views))
        return Representations(
            torch.cat([user, *(view.user for view in views)], dim=1),
            torch.cat([item, *(view.item for view in views)], dim=1),
        )

    def _view(self, name: str) -> View:
        """Preferences, content and attention of one modality."""
        edges = self.edges
        item = unit_rows(leaky_relu(self.projectors[name](self.features[name])))
        user = unit_rows(self.preferences[name])
        for _ in range(self.n_routing):
            attention = edges.row_softmax(edges.dot(user, item))
            user = unit_rows(user + edges(attention, item))
        logits = edges.dot(user, item)
        to_user, to_item = edges.row_softmax(logits), edges.col_softmax(logits)
        user, item = user + edges(to_user, item), item + edges.transposed(to_item, user)
        return View(user, item, to_user, to_item)

    def edge_weights(self, views: list[View]) -> tuple[Tensor, Tensor]:
        """Weights of the edges towards users and towards items, both `(n_edges,)`."""
        from_item = self.item_confidence.index_select(0, self.edges.cols)
        from_user = self.user_confidence.index_select(0, self.edges.rows)
        to_user = torch.stack([view.to_user for view in views], dim=1) * from_item
        to_item = torch.stack([view.to_item for view in views], dim=1) * from_user
        return to_user.max(dim=1).values.relu(), to_item.max(dim=1).values.relu()

    def _propagate(self, to_user: Tensor, to_item: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the layers of the ids on the weighted graph."""
        user, item = unit_rows(self.user_embedding), unit_rows(self.item_embedding)
        total_user, total_item = user, item
        for _ in range(self.n_layers):
            user, item = self.edges(to_user, item), self.edges.transposed(to_item, user)
            total_user, total_item = total_user + user, total_item + item
        return total_user, total_item

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, `embedding_reg` (ids and preferences of all users) and `content_reg`."""
        ids = batch_rows(self.user_embedding, self.item_embedding, batch)
        items = torch.cat([ids.positive, ids.negative])
        embedding = ids.user.square().mean() + items.square().mean()
        preferences = list(self.preferences.values())
        for table in preferences if self.all_preferences else preferences[:1]:
            embedding = embedding + table.square().mean()
        content = torch.stack(
            [table.index_select(0, batch.users).square().mean() for table in preferences]
        )
        return {
            "bpr": bpr_loss(batch_rows(*representations, batch), eps=0),
            "embedding_reg": self.reg_weight * embedding,
            "content_reg": self.reg_weight * content.sum(),
        }
