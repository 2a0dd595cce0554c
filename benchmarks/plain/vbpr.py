"""VBPR."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .losses import norms, ranking_loss


class VBPR(nn.Module):
    """The features of all items are projected for every batch."""

    def __init__(
        self,
        n_users: int,
        n_items: int,
        features: Mapping[str, Tensor],
        *,
        dim: int = 64,
        reg_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.reg_weight = reg_weight
        self.content = torch.cat(list(features.values()), dim=1)
        self.user_embedding = nn.Parameter(torch.empty(n_users, 2 * dim))
        self.item_embedding = nn.Parameter(torch.empty(n_items, dim))
        self.projector = nn.Linear(self.content.shape[1], dim)
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        item = torch.cat([self.item_embedding, self.projector(self.content)], dim=1)
        rows = self.user_embedding[users], item[items], item[negatives]
        return ranking_loss(*rows, eps=1e-10) + self.reg_weight * norms(*rows)
