"""FREEDOM: frozen item-item graph and degree-sensitive edge pruning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import Propagation
from ..tensors.ids import Repeated, joined
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier_table
from .base import (
    BACKBONES,
    EMBEDDINGS,
    Backbone,
    Batch,
    BlockGraph,
    RowTables,
)
from .feature_tables import FeatureTables
from .item_graphs import ItemGraphs
from .objectives import Rows, batch_rows, bpr_loss
from .pruning import PrunedPropagation

if TYPE_CHECKING:
    from ..graphs.blocks import SampledPropagation


@BACKBONES.register("freedom", paper="Zhou and Shen, FREEDOM, MM 2023")
class FREEDOM(Backbone):
    """LightGCN on a pruned user-item graph plus a frozen content kNN graph over the items.

    `item = lightgcn_item + S^n E_item` with `S = sum_m w_m S_m`, each `S_m` the binary,
    degree-normalised kNN graph of modality m (eq. 3-6); while training, the user-item graph keeps
    a share of the edges drawn anew each epoch with probability proportional to
    `1 / sqrt(d_u d_i)` (eq. 1-2); evaluation uses all edges.

    Args:
        graph: heterograph with `interacts`, `interacted_by` and one `similar_<modality>` each.
        features: modality name -> `(n_items, d_m)`, projected for the content ranking terms.
        dim: embedding size.
        n_layers: layers on the user-item graph.
        n_item_layers: layers n on the item-item graph.
        dropout: share of user-item edges left out in each training epoch.
        reg_weight: weight of the content ranking terms.
        modality_weights: weights w_m of the item graphs by modality name; equal if not given.
        trainable_features: train copies of the feature tables, as the published code does; else
            they stay frozen and only the projectors learn.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "interacted_by", "similar")
    represents_content: ClassVar[bool] = True
    row_tables: ClassVar[RowTables] = EMBEDDINGS
    loss_tables: ClassVar[RowTables] = {"features": "item"}

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 2,
        n_item_layers: NonNegativeInt = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.8,
        reg_weight: NonNegativeFloat = 1e-3,
        modality_weights: Mapping[str, float] | None = None,
        trainable_features: bool = False,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers = n_layers
        self.n_item_layers = n_item_layers
        self.reg_weight = reg_weight
        self.propagation = PrunedPropagation(graph, dropout)
        self.item_graphs = ItemGraphs(graph, modality_weights)
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim)
        self.features = FeatureTables(features, trainable=trainable_features)
        self.projectors = nn.ModuleDict(
            {name: nn.Linear(table.shape[1], dim) for name, table in features.items()}
        )

    def begin_epoch(self, rng: torch.Generator) -> None:
        """Draw the edges kept in this epoch, without replacement."""
        self.propagation.redraw(rng)

    def block_graph(self) -> BlockGraph:
        """The edges that are kept in this epoch, and the item graphs."""
        return BlockGraph(self.propagation.kept_ids, self.item_graphs.hops(self.n_item_layers))

    def forward(self, propagation: SampledPropagation | None = None) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`, on the pruned graph while training.

        Args:
            propagation: over sampled blocks; None is over the whole graph.
        """
        propagate: Propagation = self.propagation if propagation is None else propagation
        similar = self._propagate_items if propagation is None else propagation.similar
        user, item = propagate(self.user_embedding, self.item_embedding, self.n_layers)
        return Representations(user, item + similar(self.item_embedding))

    def _propagate_items(self, item: Tensor) -> Tensor:
        for _ in range(self.n_item_layers):
            item = self.item_graphs(item)
        return item

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr` and one `bpr_<modality>` each, users against projected content."""
        rows = batch_rows(*representations, batch)
        terms = {"bpr": bpr_loss(rows, eps=0)}
        if self.reg_weight > 0:
            # Each row is projected once, however often the batch has it on either side.
            both = Repeated.of_batch(joined(batch.items, batch.negatives))
            positive, negative = both.of.split(len(batch.items))
            for name, table in self.modalities().items():
                projected = table[both.ids]
                content = Rows(
                    rows.user,
                    projected.index_select(0, positive),
                    projected.index_select(0, negative),
                )
                terms[f"bpr_{name}"] = self.reg_weight * bpr_loss(content, eps=0)
        return terms

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own projectors."""
        return self.features.through(self.projectors)
