"""LightGCN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .graph import layer_mean, symmetric_adjacency
from .losses import norms, ranking_loss


class LightGCN(nn.Module):
    """Three sparse products under autograd for every batch."""

    def __init__(
        self,
        pairs: Tensor,
        n_users: int,
        n_items: int,
        *,
        dim: int = 64,
        n_layers: int = 3,
        reg_weight: float = 1e-4,
    ) -> None:
        super().__init__()
        self.n_layers, self.reg_weight = n_layers, reg_weight
        self.user_embedding = nn.Parameter(torch.empty(n_users, dim))
        self.item_embedding = nn.Parameter(torch.empty(n_items, dim))
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)
        self.adjacency = symmetric_adjacency(pairs, n_users, n_items)

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        ego = torch.cat([self.user_embedding, self.item_embedding])
        table = layer_mean(self.adjacency, ego, self.n_layers)
        user, item = table.split([len(self.user_embedding), len(self.item_embedding)])
        rows = (self.user_embedding[users], self.item_embedding[items])
        reg = norms(*rows, self.item_embedding[negatives])
        loss = ranking_loss(user[users], item[items], item[negatives], eps=1e-10)
        return loss + self.reg_weight * reg
