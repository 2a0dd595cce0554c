"""VBPR: matrix factorisation with projected content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import Propagation
from ..tensors.ids import Repeated, joined
from ..tensors.representations import Representations
from ..tensors.tables import xavier_table
from .base import BACKBONES, EMBEDDINGS, Backbone, Batch, RowTables
from .linear import TableLinear, linear_rows
from .objectives import batch_rows, bpr_loss, norm_regulariser


@BACKBONES.register("vbpr", paper="He and McAuley, VBPR, AAAI 2016")
class VBPR(Backbone):
    """Free item vectors beside a linear view of all content, matched by double-width users.

    `item = [id ; W concat(features) + b]`, score `<user, item>`. As in the released MMRec code
    there are no separate visual bias terms.

    Args:
        graph: heterograph with `user` and `item` nodes; only their numbers are read.
        features: modality name -> `(n_items, d_m)`; all are concatenated in this order.
        dim: size of the id half and of the content half; representations are `2 * dim` wide.
        reg_weight: weight of the norm regulariser over the double-width batch rows.
    """

    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    row_tables: ClassVar[RowTables] = {**EMBEDDINGS, "features": "item"}
    features: Tensor

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        reg_weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.representation_dim = 2 * dim
        self.reg_weight = reg_weight
        self.register_buffer("features", torch.cat(list(features.values()), 1), persistent=False)
        # Its own random draws come before those of the tables.
        projector = TableLinear(len(self.features), self.features.shape[1], dim)
        self.user_embedding = xavier_table(graph.num_nodes("user"), 2 * dim)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim)
        self.projector = projector
        nn.init.xavier_normal_(self.projector.weight)
        nn.init.zeros_(self.projector.bias)

    def forward(self, propagation: Propagation | None = None) -> Representations:
        """`(n_users, 2 dim)` users and `(n_items, 2 dim)` items `[id ; content]`."""
        item = torch.cat([self.item_embedding, self.projector(self.features)], dim=1)
        return Representations(self.user_embedding, item)

    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, where only the items of the batch are projected, each once."""
        distinct = Repeated.of_batch(joined(batch.items, batch.negatives))
        content = linear_rows(self.features, distinct.ids, self.projector)
        item = torch.cat([self.item_embedding.index_select(0, distinct.ids), content], dim=1)
        positive, negative = distinct.of.split(len(batch.items))
        here = Batch(batch.users, positive, negative)
        return self.loss(here, Representations(self.user_embedding, item))

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr` and `reg`."""
        rows = batch_rows(*representations, batch)
        return {"bpr": bpr_loss(rows), "reg": self.reg_weight * norm_regulariser(rows)}
