"""DualGNN."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize, softmax

from .graph import both_ways
from .losses import ranking_loss
from .message_passing import degree_propagation

Neighbors = tuple[list[int], list[float]]
"""Neighbours of a user, nearest first, and the numbers of common items."""


class DualGNN(nn.Module):
    """One gather-and-scatter propagation per modality; a `(n_users, k, dim)` gather for users.

    Users mix the sum of all modalities with the others, as the published code does by accident.
    """

    def __init__(
        self,
        pairs: Tensor,
        n_users: int,
        n_items: int,
        features: Mapping[str, Tensor],
        near: list[Neighbors],
        *,
        dim: int = 64,
        hidden_dim: int = 256,
        n_neighbors: int = 40,
        reg_weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.sizes, self.features, self.near = (n_users, n_items), features, near
        self.n_neighbors, self.reg_weight = n_neighbors, reg_weight
        self.edges = both_ways(pairs, n_users)
        self.preferences = nn.ParameterDict(
            {m: nn.init.xavier_normal_(torch.empty(n_users, dim)) for m in features}
        )
        self.projectors = nn.ModuleDict(
            {
                m: nn.Sequential(
                    nn.Linear(x.shape[1], hidden_dim), nn.LeakyReLU(), nn.Linear(hidden_dim, dim)
                )
                for m, x in features.items()
            }
        )
        self.user_weights = nn.Parameter(torch.rand(n_users, len(features), 1).softmax(1))
        self.item_weights = nn.Parameter(torch.rand(n_items, len(features), 1).softmax(1))
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Lists of exactly `n_neighbors`, filled by random repetition, user by user."""
        k = self.n_neighbors
        self.neighbors = torch.zeros(len(self.near), k, dtype=torch.int64)
        self.neighbor_weights = torch.zeros(len(self.near), k)
        for user, (ids, counts) in enumerate(self.near):
            if not ids:
                continue
            ids, counts = ids[:k], counts[:k]
            while len(ids) < k:
                again = random.randrange(len(ids))
                ids, counts = [*ids, ids[again]], [*counts, counts[again]]
            self.neighbors[user] = torch.tensor(ids)
            weights = torch.tensor(counts, dtype=self.neighbor_weights.dtype)
            self.neighbor_weights[user] = softmax(weights, dim=0)

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        views = [self.view(m) for m in self.features]
        total = torch.stack(views).sum(0)
        sides = [view[: self.sizes[0]] for view in (total, *views[1:])]
        mixed = (self.user_weights * torch.stack(sides, dim=1)).sum(1)
        heard = self.neighbor_weights.unsqueeze(1) @ mixed[self.neighbors]
        user, item = mixed + heard.squeeze(1), total[self.sizes[0] :]
        loss = ranking_loss(user[users], item[items], item[negatives]) / math.log(2)
        squares = [self.preferences[m][users].square().mean() for m in self.features]
        squares += [self.user_weights.square().mean(), self.item_weights.square().mean()]
        return loss + self.reg_weight * torch.stack(squares).sum()

    def view(self, m: str) -> Tensor:
        """Sum of the layers 0 to 2 of all nodes in modality `m`."""
        first, _, second = self.projectors[m]
        content = second(leaky_relu(first(self.features[m])))
        x = normalize(torch.cat([self.preferences[m], content]))
        once = degree_propagation(x, *self.edges)
        return x + once + degree_propagation(once, *self.edges)
