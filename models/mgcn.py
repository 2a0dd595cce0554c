"""MGCN: ids gated by the content of each modality, and fused by how users behave."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ..graphs.adjacency import NO_EPS
from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import widened
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier_table
from .base import BACKBONES, Backbone, Batch
from .contrast import TwoViewWeights, loss_of_two_views
from .feature_tables import FeatureTables
from .item_graphs import PREFIX, CosineGraph
from .linear import TableLinear
from .views import Kept, Views


@BACKBONES.register("mgcn", paper="Yu et al., MGCN, MM 2023")
class MGCN(Backbone):
    """LightGCN's ids, beside ids that content gates and spreads over similar items.

    With `f_m = W_m X_m + b_m` of each modality m, the view of items is `V_m = S_m^n c_m` with
    `c_m = E_item * sigmoid(G_m f_m + g_m)`, and that of users sums it over their items, normalised
    like LightGCN. S_m holds the cosines of the given features over the edges of `similar_m`,
    scaled by its row sums. At each node, `N = sum_m a_m V_m` is what modalities have in common,
    with the softmax a of `q tanh(Q V_m + r)`, and with the layer mean C of the ids

    `side = (N + sum_m sigmoid(H_m C + h_m) * (V_m - N)) / (M + 1)`.

    Representations are `C + side`. Beside BPR there are InfoNCE from `side` to C, on the users and
    on the items of the positive pairs, repeats included, and half the squared norm of the batch
    rows. An item without modality m is nobody's neighbour in S_m, and m has no part in N, in the
    sum or in the number M there; the same holds for a user all of whose items lack it.
    The published learning rate falls to 0.96 of itself every 50 epochs.

    Args:
        graph: heterograph with `interacts`, `interacted_by` and one `similar_<modality>` for each
            of `features`, where each item should be its own neighbour too.
        features: modality name -> `(n_items, d_m)`.
        dim: embedding size.
        n_layers: layers on the user-item graph.
        n_item_layers: layers n on the item graphs.
        cl_weight: weight of the contrast; published runs tried 0.001 to 0.1.
        temperature: of the contrast.
        reg_weight: weight of half the squared norm of the batch rows, per batch row.
        reg_batch_size: divide that norm by this number instead of by the number of batch rows; the
            published code takes the configured batch size even for a smaller last batch.
        trainable_features: train copies of the feature tables, as the published code does; else
            they stay frozen, out of the optimiser and of checkpoints. S_m is that of the given
            features in either case.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "interacted_by", "similar")
    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    present: Tensor

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 2,
        n_item_layers: NonNegativeInt = 1,
        cl_weight: NonNegativeFloat = 0.01,
        temperature: PositiveFloat = 0.2,
        reg_weight: NonNegativeFloat = 1e-4,
        reg_batch_size: PositiveInt | None = None,
        trainable_features: bool = True,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers, self.n_item_layers = n_layers, n_item_layers
        self.cl_weight, self.temperature = cl_weight, temperature
        self.reg_weight, self.reg_batch_size = reg_weight, reg_batch_size
        n_users, n_items = graph.num_nodes("user"), graph.num_nodes("item")
        n_nodes = n_users + n_items
        self.propagation = BipartitePropagation.from_graph(graph, eps=NO_EPS)
        self.item_graphs = nn.ModuleDict(
            {name: CosineGraph(graph, PREFIX + name, table) for name, table in features.items()}
        )
        self.register_buffer("present", self._present(features), persistent=False)
        self.user_embedding = xavier_table(n_users, dim)
        self.item_embedding = xavier_table(n_items, dim)
        self.features = FeatureTables(features, trainable=trainable_features)
        self.projectors = nn.ModuleDict(
            {name: TableLinear(n_items, table.shape[1], dim) for name, table in features.items()}
        )
        self.query = nn.Sequential(
            TableLinear(n_nodes, dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False)
        )
        self.content_gates = nn.ModuleDict({m: TableLinear(n_items, dim, dim) for m in features})
        self.behaviour_gates = nn.ModuleDict({m: TableLinear(n_nodes, dim, dim) for m in features})
        self.last: Kept[Views] = Kept()

    def _present(self, features: Mapping[str, Tensor]) -> Tensor:
        """Modalities of each node, `(n_users + n_items, M)` bool: a user has those of the items."""
        item = torch.stack([table.any(dim=1) for table in features.values()], dim=1)
        user = self.propagation.to_user(item.float()) > 0
        return torch.cat([user, item])

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`.

        The two sides of this call are kept for the contrast of `loss`.
        """
        ids = torch.cat(self.propagation(self.user_embedding, self.item_embedding, self.n_layers))
        side = self._side(ids, [self._view(name) for name in self.projectors])
        sizes = [len(self.user_embedding), len(self.item_embedding)]
        views = Views(*(Representations(*x.split(sizes)) for x in (ids, side)))
        self.last.keep(views)
        return views.total()

    def _view(self, name: str) -> Tensor:
        """V of one modality, `(n_users + n_items, dim)`."""
        projected = self.projectors[name](self.features[name])
        there = self.present[-len(projected) :, [*self.projectors].index(name), None]
        item = self.item_embedding * self.content_gates[name](projected).sigmoid() * there
        for _ in range(self.n_item_layers):
            item = self.item_graphs[name](item)
        return torch.cat([self.propagation.to_user(item), item])

    def _side(self, ids: Tensor, views: list[Tensor]) -> Tensor:
        """What content adds to C, `(n_users + n_items, dim)`."""
        logits = widened(torch.cat([self.query(view) for view in views], dim=1))
        # Finite, so that nodes without any modality stay so.
        logits = logits.masked_fill(~self.present, torch.finfo(logits.dtype).min)
        shares = (logits.softmax(1) * self.present).unbind(1)
        parts = [share.unsqueeze(1) * view for share, view in zip(shares, views, strict=True)]
        side = common = functools.reduce(torch.add, parts)
        gates, present = self.behaviour_gates.values(), self.present.unbind(1)
        for view, gate, there in zip(views, gates, present, strict=True):
            side = side + gate(ids).sigmoid() * (view - common) * there.unsqueeze(1)
        return side / (1 + self.present.sum(1, keepdim=True))

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, and unless their weight is 0 `reg`, `cl_user` and `cl_item`.

        The contrast is of the last `forward`.
        """
        weights = TwoViewWeights(
            self.reg_weight, self.reg_batch_size, self.cl_weight, self.temperature
        )
        return loss_of_two_views(batch, representations, self.last, weights)

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own projectors."""
        return self.features.through(self.projectors)
