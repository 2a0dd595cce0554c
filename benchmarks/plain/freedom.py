"""FREEDOM."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .graph import coo, layer_mean, symmetric_adjacency
from .losses import ranking_loss

Edges = tuple[Tensor, Tensor]
"""Item and neighbour of every edge of an item graph."""


class FREEDOM(nn.Module):
    """Trained feature tables, projected in full for every batch; COO graphs."""

    def __init__(
        self,
        pairs: Tensor,
        n_users: int,
        n_items: int,
        features: Mapping[str, Tensor],
        similar: Mapping[str, Edges],
        *,
        dim: int = 64,
        n_layers: int = 2,
        dropout: float = 0.8,
        reg_weight: float = 1e-3,
    ) -> None:
        super().__init__()
        self.pairs, self.sizes = pairs, (n_users, n_items)
        self.n_layers, self.dropout, self.reg_weight = n_layers, dropout, reg_weight
        self.user_embedding = nn.Parameter(torch.empty(n_users, dim))
        self.item_embedding = nn.Parameter(torch.empty(n_items, dim))
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)
        self.features = nn.ParameterDict({m: x.clone() for m, x in features.items()})
        self.projectors = nn.ModuleDict(
            {m: nn.Linear(x.shape[1], dim) for m, x in features.items()}
        )
        graphs = [knn_graph(*edges, n_items) for edges in similar.values()]
        self.item_graph = (sum(graphs[1:], graphs[0]) / len(graphs)).coalesce()
        self.adjacency = symmetric_adjacency(pairs, n_users, n_items)

    def begin_epoch(self) -> None:
        """Draw the edges of the epoch and build their matrix."""
        users, items = self.pairs
        degree = torch.bincount(users)[users] * torch.bincount(items)[items]
        n_kept = int(self.pairs.shape[1] * (1 - self.dropout))
        self.keep(torch.multinomial(degree**-0.5, n_kept))

    def keep(self, kept: Tensor) -> None:
        """Train on the pairs at positions `kept`."""
        self.adjacency = symmetric_adjacency(self.pairs[:, kept], *self.sizes)

    def tables(self) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Users, items and the projected content of all items."""
        ego = torch.cat([self.user_embedding, self.item_embedding])
        user, item = layer_mean(self.adjacency, ego, self.n_layers).split(self.sizes)
        item = item + torch.sparse.mm(self.item_graph, self.item_embedding)
        return user, item, {m: self.projectors[m](self.features[m]) for m in self.projectors}

    def ranking(
        self,
        tables: tuple[Tensor, Tensor, dict[str, Tensor]],
        users: Tensor,
        items: Tensor,
        negatives: Tensor,
    ) -> Tensor:
        """The loss on `tables`."""
        user, item, content = tables
        loss = ranking_loss(user[users], item[items], item[negatives])
        for table in content.values():
            part = ranking_loss(user[users], table[items], table[negatives])
            loss = loss + self.reg_weight * part
        return loss

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        return self.ranking(self.tables(), users, items, negatives)


def knn_graph(rows: Tensor, cols: Tensor, n_items: int) -> Tensor:
    """Binary graph of the neighbours, scaled by the row degrees of both ends."""
    scale = (torch.bincount(rows, minlength=n_items) + 1e-7) ** -0.5
    return coo(rows, cols, scale[rows] * scale[cols], n_items)
