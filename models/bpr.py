"""Matrix factorisation trained with BPR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import Propagation
from ..tensors.representations import Representations
from ..tensors.tables import xavier_table
from .base import BACKBONES, EMBEDDINGS, Backbone, Batch, RowTables
from .objectives import batch_rows, bpr_loss, norm_regulariser


@BACKBONES.register("bpr", paper="Rendle et al., BPR, UAI 2009")
class BPR(Backbone):
    """Matrix factorisation: one free vector per user and item, no graph, no content.

    Args:
        graph: heterograph with `user` and `item` nodes; only their numbers are read.
        features: ignored.
        dim: embedding size.
        reg_weight: weight of the norm regulariser over the batch rows.
    """

    row_tables: ClassVar[RowTables] = EMBEDDINGS

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        reg_weight: NonNegativeFloat = 0.1,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.reg_weight = reg_weight
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim, normal=True)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim, normal=True)

    def forward(self, propagation: Propagation | None = None) -> Representations:
        """The two embedding tables, `(n_users, dim)` and `(n_items, dim)`."""
        return Representations(self.user_embedding, self.item_embedding)

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr` and `reg`."""
        rows = batch_rows(*representations, batch)
        return {"bpr": bpr_loss(rows), "reg": self.reg_weight * norm_regulariser(rows)}
