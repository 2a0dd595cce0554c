"""What users are interested in: the mean content of the items they have."""

from __future__ import annotations

import torch
from torch import Tensor

from .adjacency import NO_EPS, Adjacency


def mean_content(users: Tensor, items: Tensor, n_users: int, features: Tensor) -> Tensor:
    """Mean features of each user's items that have any, `(n_users, d)`; zero where none has.

    Args:
        users: `(n_pairs,)` int64.
        items: `(n_pairs,)` int64.
        n_users: number of users.
        features: `(n_items, d)`; a row of zeros is missing.
    """
    there = features.any(dim=1).index_select(0, items)
    mean = Adjacency.from_edges(
        items[there], users[there], len(features), n_users, norm="row", eps=NO_EPS
    )
    with torch.no_grad():
        return mean(features)
