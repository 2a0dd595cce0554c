"""Lists of recommended items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ConfigError
from .scores import BlockScorer, block_scorer, default_block, distinct_pairs, in_block

if TYPE_CHECKING:
    from ..tensors.representations import Representations


@torch.no_grad()
def recommend(
    representations: Representations | BlockScorer,
    users: Tensor,
    k: int,
    exclude: Tensor | None = None,
    *,
    block_users: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The `k` best items of each user, best first; equal scores by the lower item id.

    Args:
        representations: `user (n_users, dim)` and `item (n_items, dim)`, on any device; or
            anything else that scores blocks of users.
        users: `(n,)` int64 user ids; repeats are allowed.
        k: length of the lists; may exceed the catalogue.
        exclude: `(2, m)` int64 user-item pairs never to recommend, such as `dataset.train`.
        block_users: users scored at once; None chooses a block that fits the cache.

    Returns:
        ids `(n, k)` int64 and scores `(n, k)`, on the CPU. Places for which no item is left hold
        -1 and minus infinity.

    Raises:
        ConfigError: `k` is smaller than one, or a user id is out of range.
        RunError: a representation is not finite, or scores overflow.
    """
    scorer = block_scorer(representations)
    users = users.cpu()
    if k < 1:
        raise ConfigError(f"k is {k}: ask for at least 1 item")
    if len(users) and not 0 <= int(users.min()) <= int(users.max()) < scorer.n_users:
        raise ConfigError(f"user ids must lie in 0 .. {scorer.n_users - 1}")
    n_items = scorer.n_items
    excluded = _excluded_cells(users, exclude, scorer.n_users, n_items)
    ids = torch.full((len(users), k), -1)
    best = torch.full((len(users), k), -torch.inf, dtype=scorer.dtype)
    width = min(k, n_items)
    rows = block_users or default_block(scorer)
    for first in range(0, len(users), rows):
        block = users[first : first + rows]
        scores = torch.empty(len(block), n_items, dtype=scorer.dtype, device=scorer.device)
        scorer(block, scores)
        cells = in_block(excluded, first, len(block), n_items).to(scorer.device)
        scores.view(-1)[cells] = -torch.inf
        top_ids, top = _top(scores, width)
        ids[first : first + rows, :width] = top_ids.masked_fill(top == -torch.inf, -1).cpu()
        best[first : first + rows, :width] = top.cpu()
    return ids, best


def _excluded_cells(users: Tensor, exclude: Tensor | None, n_users: int, n_items: int) -> Tensor:
    """Sorted flat positions of the excluded pairs in the (users x items) matrix of scores."""
    if exclude is None:
        return torch.empty(0, dtype=torch.int64)
    pair_users, pair_items = distinct_pairs(exclude, n_items)
    counts = torch.bincount(pair_users, minlength=n_users)
    start = counts.cumsum(0) - counts
    # every row of `users` takes the slice of its user's pairs, so repeated users work
    row_counts = counts[users]
    rows = torch.repeat_interleave(torch.arange(len(users)), row_counts)
    within = torch.arange(len(rows)) - (row_counts.cumsum(0) - row_counts)[rows]
    return rows * n_items + pair_items[start[users][rows] + within]


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids and scores of the `k` best of every row, equal scores by the lower id."""
    top, ids = scores.topk(k, dim=1)
    # topk picks any of the items that tie for the last place: sort those few rows in full
    tied = ((scores >= top[:, -1:]).sum(dim=1) > k).nonzero().squeeze(1)
    if len(tied):
        sorted_scores, sorted_ids = scores[tied].sort(dim=1, descending=True, stable=True)
        top[tied], ids[tied] = sorted_scores[:, :k], sorted_ids[:, :k]
    ids, by_id = ids.sort(dim=1)
    top, by_score = top.gather(1, by_id).sort(dim=1, descending=True, stable=True)
    return ids.gather(1, by_score), top
