"""DualGNN's graph between users: a loop over all pairs of users."""

from __future__ import annotations

from torch import Tensor

from .dualgnn import Neighbors


def user_graph(
    pairs: Tensor, n_users: int, k: int, sample: list[int] | None = None
) -> list[Neighbors]:
    """The `k` users with most common items of each user, or of a sample of them.

    The published code visits each unordered pair once and writes both entries into a dense square
    matrix. Users of a sample are compared with all others, see `share_of_pairs`.
    """
    items: list[set[int]] = [set() for _ in range(n_users)]
    for user, item in pairs.T.tolist():
        items[user].add(item)
    found: list[Neighbors] = []
    for user in range(n_users) if sample is None else sample:
        counts = {}
        for other in range(n_users):
            if other != user:
                common = len(items[user].intersection(items[other]))
                if common > 0:
                    counts[other] = common
        nearest = sorted(counts, key=lambda other: -counts[other])[:k]
        found.append((nearest, [float(counts[other]) for other in nearest]))
    return found


def share_of_pairs(n_users: int, n_sampled: int) -> float:
    """Pairs visited for a sample of users over those of the published loop."""
    return n_sampled * (n_users - 1) / (n_users * (n_users - 1) / 2)
