"""The model in the repository of CRANE, which is not the model of its paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from ..graphs.dgl_import import DGLGraph
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier_table
from .attention import BlockwiseSelfAttention
from .base import BACKBONES, Backbone, Batch
from .feature_tables import FeatureTables
from .item_graphs import ItemGraphs
from .objectives import batch_rows, bpr_loss, norm_regulariser
from .pruning import PrunedPropagation


@BACKBONES.register("crane_released", paper="code released for CRANE, TOMM 2026")
class CRANEReleased(Backbone):
    """What the released code of CRANE computes, which is not the paper's model.

    It has no recursion, no user profiles, no contrast and no regulariser, and its item graph is
    FREEDOM's, of raw features. Its attention lacks `batch_first`, so items are the sequence and
    modalities the batch: every item attends to all items within one modality, and modalities meet
    only in a mean. Run it to compare with numbers made by that code, or to see what attention
    between items adds to FREEDOM; for the paper's model take `crane`.

    `F` is the mean over the modalities of attention over two linear maps of the features;
    `item = i_g + S^n F` and `user = u_g`, with LightGCN on a pruned graph and S as in FREEDOM.
    Attention costs `n_items^2` in time for every batch, but never in memory.

    Args:
        graph: heterograph with `interacts`, `interacted_by` and one `similar_<modality>` each.
        features: modality name -> `(n_items, d_m)`.
        dim: embedding size, also of the content; a multiple of `n_heads`.
        n_heads: heads of the attention.
        n_layers: layers on the user-item graph.
        n_item_layers: layers n on the item graph.
        dropout: share of user-item edges left out in each training epoch.
        reg_weight: weight of the norms (not squared) of the un-propagated rows of the batch. The
            released code reads such a weight and does not use it: 0 is what it computes.
        modality_weights: weights of the item graphs by modality name, 0.1 for images and 0.9 for
            text as released; equal if not given.
        trainable_features: train copies of the feature tables, as released; else they stay frozen
            and only the projectors learn.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "interacted_by", "similar")
    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_heads: PositiveInt = 4,
        n_layers: NonNegativeInt = 2,
        n_item_layers: NonNegativeInt = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.8,
        reg_weight: NonNegativeFloat = 0.0,
        modality_weights: Mapping[str, float] | None = None,
        trainable_features: bool = True,
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
        self.transforms = nn.ModuleDict({name: nn.Linear(dim, dim) for name in features})
        self.attention = BlockwiseSelfAttention(dim, n_heads)

    def begin_epoch(self, rng: torch.Generator) -> None:
        """Draw the user-item edges kept in this epoch."""
        self.propagation.redraw(rng)

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`, on the pruned graph while training."""
        user, item = self.propagation(self.user_embedding, self.item_embedding, self.n_layers)
        content = self.attention(self.contents()).mean(dim=0)
        for _ in range(self.n_item_layers):
            content = self.item_graphs(content)
        return Representations(user, item + content)

    def contents(self) -> Tensor:
        """Content before attention, `(n_modalities, n_items, dim)`."""
        return torch.stack(
            [
                self.transforms[name](projector(self.features[name]))
                for name, projector in self.projectors.items()
            ]
        )

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Term `bpr` and, unless its weight is 0, `reg`."""
        terms = {"bpr": bpr_loss(batch_rows(*representations, batch), eps=0)}
        if self.reg_weight > 0:
            ego = batch_rows(self.user_embedding, self.item_embedding, batch)
            terms["reg"] = self.reg_weight * norm_regulariser(ego)
        return terms

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's first linear maps."""
        return self.features.through(self.projectors)
