"""Blocked full ranking: where does each held-out item stand among all items?

Every metric at every cut-off follows from the ranks of the held-out items, so no list is ever
sorted: the scores of a block of users are one matrix product, and the rank of a held-out item is
the number of items that score higher. Users are ordered by their number of held-out items, so that
"the users that have an s-th held-out item" is the top of a block and needs no gathering.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..progress import Bar
from .metrics import Metrics, average, user_metrics
from .scores import BlockScorer, block_scorer, default_block, distinct_pairs, in_block

if TYPE_CHECKING:
    from ..datasets.dataset import Dataset
    from ..tensors.representations import Representations

DEFAULT_KS = (5, 10, 20, 50)


def evaluate(
    representations: Representations | BlockScorer,
    dataset: Dataset,
    split: str,
    ks: Sequence[int] = DEFAULT_KS,
    *,
    block_users: int | None = None,
    progress: bool = False,
) -> Metrics:
    """Metrics of `representations` on one split; see `Evaluator` for what is ranked."""
    return Evaluator(dataset, split, ks, block_users=block_users)(
        representations, progress=progress
    )


class Evaluator:
    """Full-ranking evaluation of one split; everything that does not change is prepared once.

    All items are ranked for every user that has a row in the split. Items of the user's *training*
    rows are left out of the ranking; when the test split is evaluated, validation items stay in it,
    as in the published tables. Equal scores are ordered by the lower item id. Averages over users
    are taken in float64.

    Args:
        dataset: the data set.
        split: `valid` or `test`.
        ks: cut-offs of the metrics.
        block_users: users scored at once; None chooses a block that fits the cache.

    Raises:
        DataError: the split is empty, or holds a pair of the training split.
        ConfigError: a cut-off or `block_users` is smaller than one.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        ks: Sequence[int] = DEFAULT_KS,
        *,
        block_users: int | None = None,
    ) -> None:
        if not ks or min(ks) < 1:
            raise ConfigError(f"cut-offs {tuple(ks)}: give one or more integers of at least 1")
        if block_users is not None and block_users < 1:
            raise ConfigError(f"block_users is {block_users}: it must be at least 1")
        self.ks = tuple(sorted(set(ks)))
        self.block_users = block_users
        self.n_items = dataset.n_items
        self.dropped_rows = int(dataset.dropped.get(split, 0))
        users, items = distinct_pairs(dataset.split(split), dataset.n_items)
        if len(users) == 0:
            raise DataError(
                f"data set '{dataset.name}' has no {split} rows: it cannot be evaluated"
            )
        ids, counts = torch.unique_consecutive(users, return_counts=True)
        order = torch.argsort(counts, descending=True, stable=True)

        self.users = ids[order]
        """`(n_users,)` int64, evaluated users, those with the most held-out items first."""
        self.counts = counts[order]
        """`(n_users,)` int64, held-out items of each."""
        row_of_user = torch.full((dataset.n_users,), -1, dtype=torch.int64)
        row_of_user[self.users] = torch.arange(len(ids))
        self._target_cells = _cells(row_of_user, users, items, self.n_items)
        train_users, train_items = distinct_pairs(dataset.train, dataset.n_items)
        self._train_cells = _cells(row_of_user, train_users, train_items, self.n_items)
        self._refuse_training_pairs(dataset, split)

    def __call__(
        self, representations: Representations | BlockScorer, *, progress: bool = False
    ) -> Metrics:
        """Average metrics.

        Args:
            representations: `user (n_users, dim)` and `item (n_items, dim)`, on any device; or
                anything else that scores blocks of users.
            progress: show a bar over blocks.

        Raises:
            RunError: a representation is not finite, or scores overflow.
        """
        values = self.per_user(representations, progress=progress)
        return Metrics(average(values, self.ks), len(self.users), self.dropped_rows)

    def per_user(
        self, representations: Representations | BlockScorer, *, progress: bool = False
    ) -> dict[str, Tensor]:
        """Metric name -> `(n_users, len(ks))` float64, one row for each id in `users`."""
        return user_metrics(self.ranks(representations, progress=progress), self.counts, self.ks)

    @torch.no_grad()
    def ranks(
        self, representations: Representations | BlockScorer, *, progress: bool = False
    ) -> Tensor:
        """0-based ranks of the held-out items, `(n_targets,)` int64 on the CPU.

        They follow the order of `users`, and of item ids within a user. Ranks below `max(ks)` are
        exact; beyond it, items of equal score may be missing from the count.
        """
        return self.ranks_of_each([representations], progress=progress)[0]

    @torch.no_grad()
    def ranks_of_each(
        self, scores: Sequence[Representations | BlockScorer], *, progress: bool = False
    ) -> list[Tensor]:
        """What `ranks` gives for each of several, of one shape, type and device.

        All of them score a block of users before the next block's turn comes, so those that share
        work on it can do it once.
        """
        scorers = [block_scorer(one) for one in scores]
        first = scorers[0]
        rows = self.block_users or default_block(first)
        buffers = torch.empty(
            2, min(rows, len(self.users)), self.n_items, dtype=first.dtype, device=first.device
        )
        starts = range(0, len(self.users), rows)
        blocks = Bar(starts, desc="evaluating", unit="block", leave=False, disable=not progress)
        found = [[self._block_ranks(s, start, buffers) for s in scorers] for start in blocks]
        return [torch.cat(own) for own in zip(*found, strict=True)]

    def _block_ranks(self, scorer: BlockScorer, first: int, buffers: Tensor) -> Tensor:
        """Ranks of the held-out items of the users in rows `first ...` that fill a buffer."""
        users = self.users[first : first + buffers.shape[1]]
        counts = self.counts[first : first + buffers.shape[1]]
        scores, above = buffers[:, : len(users)]
        device = scores.device

        scorer(users, scores)
        cells = scores.view(-1)
        cells[in_block(self._train_cells, first, len(users), self.n_items).to(device)] = -torch.inf
        targets = in_block(self._target_cells, first, len(users), self.n_items).to(device)
        target_scores, target_items = cells[targets], targets % self.n_items

        ranks = torch.empty_like(targets)
        start = (counts.cumsum(0) - counts).to(device)
        # (-counts) ascends, so this is the number of users with more than `slot` targets
        sizes = torch.searchsorted(-counts, -torch.arange(int(counts[0]))).tolist()
        for slot, size in enumerate(sizes):
            index = start[:size] + slot
            ranks[index] = _ranks_of(
                scores[:size], target_scores[index], target_items[index], above[:size], self.ks[-1]
            )
        return ranks.cpu()

    def _refuse_training_pairs(self, dataset: Dataset, split: str) -> None:
        both = self._target_cells[torch.isin(self._target_cells, self._train_cells)]
        if len(both):
            user = int(self.users[both[0] // self.n_items])
            raise DataError(
                f"data set '{dataset.name}': user {user} has item {int(both[0]) % self.n_items} "
                f"both in train and in {split} ({len(both)} such rows): remove them from {split}"
            )


def _ranks_of(
    scores: Tensor, target_scores: Tensor, target_items: Tensor, above: Tensor, exact_below: int
) -> Tensor:
    """Rank of one target per row: items that score higher, then equal scores with a lower id.

    Comparing into a floating-point buffer and summing that is several times faster than counting
    booleans; the sum is exact, since it stays an integer below 2^24 (float64 beyond).

    Args:
        scores: `(n, n_items)`, left-out items at minus infinity.
        target_scores: `(n,)`
        target_items: `(n,)` int64
        above: `(n, n_items)` work space of the same dtype.
        exact_below: equal scores are looked at only where the rank can be below this.
    """
    torch.gt(scores, target_scores[:, None], out=above)
    exact = torch.float64 if scores.shape[1] > 1 << 24 else None
    ranks = above.sum(dim=1, dtype=exact).long()
    near = (ranks < exact_below).nonzero().squeeze(1)
    equal = scores[near] == target_scores[near, None]
    tied = (equal.sum(dim=1, dtype=torch.int32) > 1).nonzero().squeeze(1)
    if len(tied):
        near = near[tied]
        ids = torch.arange(scores.shape[1], device=scores.device)
        lower = equal[tied] & (ids < target_items[near, None])
        ranks[near] += lower.sum(dim=1)
    return ranks


def _cells(row_of_user: Tensor, users: Tensor, items: Tensor, n_items: int) -> Tensor:
    """Sorted flat positions of pairs in the (evaluated users x items) matrix of scores."""
    rows = row_of_user[users]
    return (rows * n_items + items)[rows >= 0].sort().values
