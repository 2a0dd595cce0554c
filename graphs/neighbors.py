"""Neighbour lists: the items with the most similar user feedback."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Neighbors:
    """The `k` items that share most users with each item, best first.

    Attributes:
        ids: `(n_items, k)` int64 item ids, -1 where an item has fewer neighbours.
        counts: `(n_items, k)` int64 number of common users, 0 where there is no neighbour.
    """

    ids: Tensor
    counts: Tensor
