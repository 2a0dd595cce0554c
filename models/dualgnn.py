"""DualGNN: one propagation per modality, then one step between users who share items."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from ..graphs.adjacency import NO_EPS
from ..graphs.dgl_import import DGLGraph
from ..graphs.neighbor_lists import NeighborLists
from ..graphs.propagation import BipartitePropagation
from ..graphs.sparse_pattern import SparsePattern
from ..tensors.functional import unit_rows, widened
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier_table
from .base import BACKBONES, Backbone, Batch
from .feature_tables import FeatureTables
from .linear import TableLinear
from .objectives import batch_rows, bpr_loss


@BACKBONES.register("dualgnn", paper="Wang et al., DualGNN, TMM 2021")
class DualGNN(Backbone):
    """Users mix the modalities by weights of their own and then hear users of shared items.

    For each modality, `x = [preference ; MLP(features)]` with unit rows and
    `rep_m = x + A x + A A x` on the symmetrically normalised user-item graph. Items are
    `sum_m rep_m`; users are `u + W u` with `u = sum_m w_u,m rep_m` and W the softmax of the
    numbers of common items over the nearest users.

    Args:
        graph: heterograph with `interacts` and `user_cooccurs`, whose `cooccur_k` should be at
            least `n_neighbors`.
        features: modality name -> `(n_items, d_m)`.
        dim: size of preferences and representations.
        hidden_dim: hidden layer of the perceptron over the features.
        n_layers: layers of the propagation, which are added up.
        n_neighbors: nearest users that a user hears; those who have fewer hear only these.
        reg_weight: weight of the mean squares of the batch's preferences and of the weights w_u.
        parity: do as the published code does. It adds the modalities up in the memory of the
            first, so users mix `[sum_m rep_m, rep_2, ...]`; it repeats random neighbours, drawn
            anew each epoch, where there are fewer than `n_neighbors`, which changes the softmax;
            and it regularises a weight per item and modality that nothing else uses.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "user_cooccurs")
    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    neighbors: Tensor
    counts: Tensor
    neighbor_weights: Tensor

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        hidden_dim: PositiveInt = 256,
        n_layers: NonNegativeInt = 2,
        n_neighbors: PositiveInt = 40,
        reg_weight: NonNegativeFloat = 0.1,
        parity: bool = False,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers = n_layers
        self.reg_weight = reg_weight
        self.parity = parity
        self.propagation = BipartitePropagation.from_graph(graph, eps=NO_EPS)
        n_users, n_items = graph.num_nodes("user"), graph.num_nodes("item")
        self.preferences = nn.ParameterDict(
            {name: xavier_table(n_users, dim, normal=True) for name in features}
        )
        self.features = FeatureTables(features, trainable=False)
        self.projectors = nn.ModuleDict(
            {
                name: nn.Sequential(
                    TableLinear(len(table), table.shape[1], hidden_dim),
                    nn.LeakyReLU(),
                    TableLinear(n_items, hidden_dim, dim),
                )
                for name, table in features.items()
            }
        )
        self.user_weights = nn.Parameter(_modality_weights(n_users, len(features)))
        if parity:
            self.item_weights = nn.Parameter(_modality_weights(n_items, len(features)))
        ids, counts = NeighborLists.from_graph(graph, "user", n_neighbors)
        self.register_buffer("neighbors", ids, persistent=False)
        self.register_buffer("counts", counts, persistent=False)
        self.use_neighbors(ids, counts)

    def begin_epoch(self, rng: torch.Generator) -> None:
        """With `parity`, fill short lists with random repetitions of their own entries."""
        if self.parity:
            self.use_neighbors(*NeighborLists(self.neighbors, self.counts).padded(rng))

    def use_neighbors(self, ids: Tensor, counts: Tensor) -> None:
        """Let users hear the given ones, weighed by the softmax of `counts` over each row.

        Args:
            ids: `(n_users, k)` int64, -1 where there is none; repetitions count again.
            counts: `(n_users, k)` numbers of common items.
        """
        user, neighbor, weights = NeighborLists(ids, counts).shares()
        self.user_pattern = SparsePattern(user, neighbor, len(ids), len(ids))
        self.register_buffer("neighbor_weights", weights, persistent=False)

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`."""
        tables, preferences = [], []
        for name, projector in self.projectors.items():
            tables.append(unit_rows(projector(self.features[name])))
            preferences.append(unit_rows(self.preferences[name]))
        # All modalities side by side, in one pass; its mean of layers becomes their sum.
        user, item = self.propagation(
            torch.cat(preferences, 1), torch.cat(tables, 1), self.n_layers
        )
        user, item = (x.view(-1, len(tables), self.representation_dim) for x in (user, item))
        weights = (self.n_layers + 1) * self.user_weights
        if self.parity:
            # `w_1 sum_m rep_m + w_2 rep_2 + ...`, ordered by modality.
            first = weights[:, :1]
            weights = torch.cat([first, weights[:, 1:] + first], dim=1)
        mixed = widened(torch.bmm(weights.transpose(1, 2), user)).squeeze(1)
        heard = self.user_pattern(self.neighbor_weights.to(mixed), mixed)
        return Representations(mixed + heard, (self.n_layers + 1) * item.sum(1))

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr` (log base 2, as published), `preference_<modality>` and `user_weights`.

        With `parity` also `item_weights`.
        """
        rows = batch_rows(*representations, batch)
        terms = {"bpr": bpr_loss(rows, eps=0) / math.log(2)}
        for name in self.projectors:
            squares = self.preferences[name].index_select(0, batch.users).square()
            terms[f"preference_{name}"] = self.reg_weight * squares.mean()
        terms["user_weights"] = self.reg_weight * self.user_weights.square().mean()
        if self.parity:
            terms["item_weights"] = self.reg_weight * self.item_weights.square().mean()
        return terms

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own perceptrons, not yet scaled to unit rows."""
        return {
            name: Projected(self.features[name], projector)
            for name, projector in self.projectors.items()
        }


def _modality_weights(n_rows: int, n_modalities: int) -> Tensor:
    """`(n_rows, n_modalities, 1)`, the softmax of Xavier-normal noise over the modalities."""
    return nn.init.xavier_normal_(torch.empty(n_rows, n_modalities, 1)).softmax(1)
