"""Evidence after a model as dense matrices: histories, weights of items, and their product."""

from __future__ import annotations

import torch
from torch import Tensor


def lists_with_evidence(
    model: tuple[Tensor, Tensor],
    train: Tensor,
    weights: Tensor,
    users: Tensor,
    *,
    weight: float,
    candidates: int,
    k: int,
) -> Tensor:
    """The `k` best items of `users`, by scores with evidence added to those of candidates.

    Args:
        model: `(n_users, dim)` and `(n_items, dim)`.
        train: `(2, n)` pairs: the histories, which are left out of the lists.
        weights: `(n_items, n_items)`, what the item of a row says for every item.
        users: `(m,)` ids.
        weight: of the evidence, in standard deviations of the scores.
        candidates: items of the highest scores that evidence is added to.
        k: length of the lists.
    """
    user, item = model
    history = torch.zeros(len(user), len(item))
    history[train[0], train[1]] = 1.0
    lists = []
    for start in range(0, len(users), 4096):
        block = users[start : start + 4096]
        seen = history[block]
        scores = user[block] @ item.T
        spread = scores.std(dim=1, correction=0, keepdim=True)
        scores[seen > 0] = -1e10
        raw = seen @ weights
        z = (raw - raw.mean(1, keepdim=True)) / raw.std(dim=1, correction=0, keepdim=True)
        best = scores.topk(candidates, dim=1).indices
        scores.scatter_add_(1, best, weight * spread * z.gather(1, best))
        lists.append(scores.topk(k, dim=1).indices)
    return torch.cat(lists)
