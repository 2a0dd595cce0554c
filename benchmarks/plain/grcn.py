"""GRCN."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from .graph import both_ways
from .losses import ranking_loss
from .message_passing import attend, weighted_sum


class GRCN(nn.Module):
    """Gathered ends and scattered messages of all edges.

    Routing sends messages to the items, so that it moves nothing, as in the published code; its
    work is done all the same.
    """

    def __init__(
        self,
        pairs: Tensor,
        n_users: int,
        n_items: int,
        features: Mapping[str, Tensor],
        *,
        dim: int = 64,
        n_layers: int = 2,
        n_routing: int = 3,
        reg_weight: float = 1e-4,
    ) -> None:
        super().__init__()
        self.sizes, self.n_edges = (n_users, n_items), pairs.shape[1]
        self.n_layers, self.n_routing, self.reg_weight = n_layers, n_routing, reg_weight
        self.sources, self.targets = both_ways(pairs, n_users)
        self.features = features
        self.user_embedding, self.item_embedding = table(n_users, dim), table(n_items, dim)
        self.user_confidence = table(n_users, len(features))
        self.item_confidence = table(n_items, len(features))
        self.preferences = nn.ParameterDict({m: table(n_users, dim) for m in features})
        self.projectors = nn.ModuleDict(
            {m: nn.Linear(x.shape[1], dim) for m, x in features.items()}
        )

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        views = [self.view(m) for m in self.features]
        attention = torch.stack([view[1] for view in views], dim=1)
        confidence = torch.cat([self.user_confidence, self.item_confidence])
        weights = (attention * confidence[self.sources]).max(dim=1).values.relu()
        layer = normalize(torch.cat([self.user_embedding, self.item_embedding]))
        total = layer
        for _ in range(self.n_layers):
            layer = weighted_sum(layer, weights, self.sources, self.targets)
            total = total + layer
        user, item = torch.cat([total, *(view[0] for view in views)], dim=1).split(self.sizes)
        loss = ranking_loss(user[users], item[items], item[negatives])
        return loss + self.reg_weight * self.penalty(users, items, negatives)

    def view(self, m: str) -> tuple[Tensor, Tensor]:
        """Rows of all nodes in modality `m`, and the attention of all edges."""
        content = normalize(leaky_relu(self.projectors[m](self.features[m])))
        preference = normalize(self.preferences[m])
        for _ in range(self.n_routing):
            x = torch.cat([preference, content])
            one_way = self.sources[: self.n_edges], self.targets[: self.n_edges]
            moved, _ = attend(x, *one_way)
            preference = normalize(preference + moved[: self.sizes[0]])
        x = torch.cat([preference, content])
        attended, attention = attend(x, self.sources, self.targets)
        return x + attended, attention

    def penalty(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        """Mean squares of the batch's ids and preferences, and of one whole preference table."""
        item = self.item_embedding[torch.cat([items, negatives])]
        first = next(iter(self.preferences.values()))
        total = self.user_embedding[users].square().mean() + item.square().mean()
        total = total + first.square().mean()
        for preference in self.preferences.values():
            total = total + preference[users].square().mean()
        return total


def table(n: int, width: int) -> nn.Parameter:
    """A trained `(n, width)` table, Xavier-normal."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(n, width)))
