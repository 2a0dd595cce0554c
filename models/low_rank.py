"""A low-rank map for every node, chosen by what another table says of the node."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..tensors.functional import unit_rows


class LowRank(nn.Module):
    """`x W1 W2` with `W1 (dim, rank)` and `W2 (rank, dim)` of each row's own (REARM).

    Both come from `k = L c`, through a perceptron whose output is scaled to length one; to this the
    mean over all rows is added, and a softmax over the first index follows. So a change of one row
    moves the maps of all a little.

    Args:
        context_dim: width of c.
        dim: width of x.
        rank: of the maps.
        meta_trainable: train L and what is before it; else L stays as drawn and c gets no gradient.
    """

    def __init__(self, context_dim: int, dim: int, rank: int, meta_trainable: bool) -> None:
        super().__init__()
        self.rank, self.trainable = rank, meta_trainable
        self.meta = nn.Linear(context_dim, dim).requires_grad_(meta_trainable)
        self.first, self.second = (
            nn.Sequential(nn.Linear(dim, dim * rank), nn.PReLU(), nn.Linear(dim * rank, dim * rank))
            for _ in range(2)
        )

    def forward(self, context: Tensor, x: Tensor) -> Tensor:
        """`(n, context_dim)` and `(n, dim)` to `(n, dim)`."""
        key = self.meta(context) if self.trainable else self.meta(context).detach()
        down = self._map(self.first(key).unflatten(1, (-1, self.rank)))
        up = self._map(self.second(key).unflatten(1, (self.rank, -1)))
        return torch.bmm(torch.bmm(x.unsqueeze(1), down), up).squeeze(1)

    @staticmethod
    def _map(raw: Tensor) -> Tensor:
        unit = unit_rows(raw.flatten(1)).view_as(raw)
        return (unit + unit.mean(dim=0)).softmax(dim=1)
