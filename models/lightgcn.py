"""LightGCN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import BipartitePropagation, Propagation
from ..tensors.representations import Representations
from ..tensors.tables import xavier_table
from .base import BACKBONES, EMBEDDINGS, Backbone, Batch, RowTables
from .objectives import batch_rows, bpr_loss, norm_regulariser


@BACKBONES.register("lightgcn", paper="He et al., LightGCN, SIGIR 2020")
class LightGCN(Backbone):
    """Mean of the layers of linear propagation over the user-item graph.

    `E^(k+1) = D^-1/2 A D^-1/2 E^(k)`, output `(E^(0) + ... + E^(K)) / (K + 1)` (eq. 3 and 4 with
    uniform layer weights).

    Args:
        graph: heterograph with the relations `interacts` and `interacted_by`.
        features: ignored.
        dim: embedding size.
        n_layers: propagation layers K; 0 is matrix factorisation.
        reg_weight: weight of the norm regulariser over the un-propagated batch rows.
    """

    row_tables: ClassVar[RowTables] = EMBEDDINGS

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 3,
        reg_weight: NonNegativeFloat = 1e-4,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers = n_layers
        self.reg_weight = reg_weight
        self.propagation = BipartitePropagation.from_graph(graph)
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim)

    def forward(self, propagation: Propagation | None = None) -> Representations:
        """Propagated tables, `(n_users, dim)` and `(n_items, dim)`.

        Args:
            propagation: over sampled blocks; None is over the whole graph.
        """
        propagate = self.propagation if propagation is None else propagation
        return Representations(*propagate(self.user_embedding, self.item_embedding, self.n_layers))

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr` on propagated rows and `reg` on un-propagated ones."""
        ego = batch_rows(self.user_embedding, self.item_embedding, batch)
        return {
            "bpr": bpr_loss(batch_rows(*representations, batch)),
            "reg": self.reg_weight * norm_regulariser(ego),
        }
