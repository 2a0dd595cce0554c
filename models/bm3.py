"""BM3: bootstrapped representations without negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import dropout

from ..align.bm3 import distance, linear
from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import unit_rows
from ..tensors.ids import Repeated
from ..tensors.representations import Representations
from ..tensors.tables import Projected, rows_of, xavier_table
from .base import BACKBONES, Backbone, Batch
from .feature_tables import FeatureTables
from .objectives import mean_cosine_distance


@BACKBONES.register("bm3", paper="Zhou et al., BM3, WWW 2023")
class BM3(Backbone):
    """LightGCN with an item residual, trained to predict dropped-out copies of itself.

    `item = lightgcn_item + E_item`. One predictor `P` serves users, items and content; targets
    (marked ~) are copies without gradient, after dropout. With `d(a, b) = 1 - cos(a, b)`, means
    over the positive pairs: `d(P u, i~) + d(P i, u~)` (eq. 8), and for every modality m
    `cl_weight (d(P m, i~) + d(P m, m~))` (eq. 10 and 11). No negatives are used.

    While training, representations are the un-predicted tables, which the losses and alignments
    work on; in evaluation mode they are `P` of them, whose inner products are the scores.

    Args:
        graph: heterograph with the relations `interacts` and `interacted_by`.
        features: modality name -> `(n_items, d_m)`.
        dim: embedding size.
        n_layers: layers on the user-item graph.
        dropout: share of the entries of the targets that are set to zero.
        cl_weight: weight of the content terms.
        reg_weight: weight of the Frobenius norms (not squared) of the two whole un-predicted
            tables, `n_users` and `n_items` rows after propagation, over the number of items.
        trainable_features: train copies of the feature tables, as the published code does; else
            they stay frozen and only the projectors learn.
    """

    needs_features: ClassVar[bool] = True

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        cl_weight: NonNegativeFloat = 2.0,
        reg_weight: NonNegativeFloat = 0.1,
        trainable_features: bool = False,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers = n_layers
        self.dropout = dropout
        self.cl_weight = cl_weight
        self.reg_weight = reg_weight
        self.propagation = BipartitePropagation.from_graph(graph)
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim)
        self.predictor = linear(dim, dim)
        self.features = FeatureTables(features, trainable=trainable_features)
        self.projectors = nn.ModuleDict(
            {name: linear(table.shape[1], dim) for name, table in features.items()}
        )

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`: un-predicted in training, predicted else."""
        tables = self.aligned()
        return tables if self.training else Representations(*map(self.predictor, tables))

    def aligned(self) -> Representations:
        """The un-predicted tables."""
        user, item = self.propagation(self.user_embedding, self.item_embedding, self.n_layers)
        return Representations(user, item + self.item_embedding)

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `ui`, `iu`, `reg`, and `<modality>_item`, `<modality>_<modality>` for each.

        Args:
            batch: positive pairs; the negatives are not read.
            representations: un-predicted tables, as `forward` gives them while training.
        """
        users, items = Repeated.of_batch(batch.users), Repeated.of_batch(batch.items)
        user = rows_of(representations.user, users.ids)
        item = rows_of(representations.item, items.ids)
        user_target = self.target("user", user, users.ids)
        item_target = self.target("item", item, items.ids)
        terms = {
            "ui": mean_cosine_distance(
                rows_of(self._online(user), users.of), rows_of(item_target, items.of)
            ),
            "iu": mean_cosine_distance(
                rows_of(self._online(item), items.of), rows_of(user_target, users.of)
            ),
            "reg": self.reg_weight * _norms(representations),
        }
        if self.cl_weight > 0:
            terms |= self._content_terms(items, item_target)
        return terms

    def _content_terms(self, items: Repeated, item_target: Tensor) -> dict[str, Tensor]:
        """Content of the distinct items against the items' targets and its own."""
        shares = items.counts.to(item_target.dtype) / items.counts.sum()
        terms = {}
        for name, table in self.modalities().items():
            rows = table[items.ids]
            online, target = self._online(rows), self.target(name, rows, items.ids)
            terms[f"{name}_item"] = self.cl_weight * distance(online, item_target, shares)
            terms[f"{name}_{name}"] = self.cl_weight * distance(online, target, shares)
        return terms

    def target(self, name: str, rows: Tensor, ids: Tensor) -> Tensor:
        """Unit rows of `rows` `(n, dim)` after dropout, without gradient.

        Args:
            name: `user`, `item` or the modality of the rows.
            rows: rows of the nodes `ids`.
            ids: `(n,)` distinct user or item ids.
        """
        return unit_rows(dropout(rows.detach(), self.dropout, self.training))

    def _online(self, rows: Tensor) -> Tensor:
        return unit_rows(self.predictor(rows))

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own projectors, not predicted."""
        return self.features.through(self.projectors)


def _norms(tables: Representations) -> Tensor:
    """Frobenius norms of both whole tables, un-squared, over the number of items."""
    norms = torch.linalg.matrix_norm(tables.user) + torch.linalg.matrix_norm(tables.item)
    return norms / len(tables.item)
