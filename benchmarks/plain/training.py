"""An epoch with negatives drawn in a Python loop."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn


class Sampler:
    """One negative per pair, drawn again while it is among the user's training items."""

    def __init__(self, pairs: Tensor) -> None:
        self.seen: dict[int, set[int]] = {}
        for user, item in pairs.T.tolist():
            self.seen.setdefault(user, set()).add(item)
        self.candidates = sorted(set(pairs[1].tolist()))

    def __call__(self, users: Tensor) -> Tensor:
        negatives = []
        for user in users.tolist():
            item = random.choice(self.candidates)
            while item in self.seen[user]:
                item = random.choice(self.candidates)
            negatives.append(item)
        return torch.tensor(negatives)


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler | None, pairs: Tensor
) -> None:
    """One step on the pairs of a batch; without a sampler there are no negatives."""
    users, items = pairs
    negatives = items if sampler is None else sampler(users)
    optimizer.zero_grad()
    model(users, items, negatives).backward()
    optimizer.step()
