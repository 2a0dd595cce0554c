"""BM3."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, dropout

from .graph import layer_mean, symmetric_adjacency
from .losses import norms


class BM3(nn.Module):
    """Predictions and dropped-out targets of whole tables; trained feature tables."""

    def __init__(
        self,
        pairs: Tensor,
        n_users: int,
        n_items: int,
        features: Mapping[str, Tensor],
        *,
        dim: int = 64,
        n_layers: int = 1,
        dropout: float = 0.5,
        cl_weight: float = 2.0,
        reg_weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.sizes = (n_users, n_items)
        self.n_layers, self.dropout = n_layers, dropout
        self.cl_weight, self.reg_weight = cl_weight, reg_weight
        self.user_embedding = nn.Parameter(torch.empty(n_users, dim))
        self.item_embedding = nn.Parameter(torch.empty(n_items, dim))
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)
        self.predictor = nn.Linear(dim, dim)
        self.features = nn.ParameterDict({m: x.clone() for m, x in features.items()})
        self.projectors = nn.ModuleDict(
            {m: nn.Linear(x.shape[1], dim) for m, x in features.items()}
        )
        self.adjacency = symmetric_adjacency(pairs, n_users, n_items)

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        ego = torch.cat([self.user_embedding, self.item_embedding])
        user, item = layer_mean(self.adjacency, ego, self.n_layers).split(self.sizes)
        item = item + self.item_embedding
        content = {m: self.projectors[m](self.features[m]) for m in self.projectors}
        user_target, item_target = self.target(user)[users], self.target(item)[items]
        targets = {m: self.target(table)[items] for m, table in content.items()}
        loss = distance(self.predictor(user)[users], item_target)
        loss = loss + distance(self.predictor(item)[items], user_target)
        for m, table in content.items():
            online = self.predictor(table)[items]
            pulled = distance(online, item_target) + distance(online, targets[m])
            loss = loss + self.cl_weight * pulled
        return loss + self.reg_weight * norms(user, item)

    def target(self, table: Tensor) -> Tensor:
        """A whole table without gradient, after dropout."""
        return dropout(table.detach(), self.dropout)


def distance(online: Tensor, target: Tensor) -> Tensor:
    """Mean of `1 - cos` over rows."""
    return 1 - cosine_similarity(online, target, dim=-1).mean()
