"""The order of an item's co-occurring items, and the best of them for a block of items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..tensors.later import sp

Score = Literal["count", "cosine", "jaccard"]
SCORES = ("count", "cosine", "jaccard")


@dataclass(frozen=True)
class Similarity:
    """Which items are neighbours, and which of them come first.

    Attributes:
        score: `count` C_ij; `cosine` C_ij / sqrt(d_i d_j); `jaccard` C_ij / (d_i + d_j - C_ij).
        min_count: pairs of items with fewer common users are not neighbours.
    """

    score: Score = "count"
    min_count: int = 1


class Ranking:
    """By score, then count, then cosine, all descending, then the smaller item id.

    Args:
        degree: `(n_items,)` users of each item.
        score: what is ranked by first; see `Similarity`.
    """

    def __init__(self, degree: np.ndarray, score: Score) -> None:
        self.degree = degree.astype(np.int64)
        self.score = score
        # At equal counts with one item, a higher cosine is a smaller degree of the other. So the
        # place in the order by degree, then id, is the tie-break "cosine, then smaller id".
        self.tie_break = np.empty(len(degree), dtype=np.int64)
        self.tie_break[np.argsort(degree, kind="stable")] = np.arange(len(degree))

    def top_k(
        self, items: np.ndarray, common: sp.csr_array, k: int, min_count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids and counts `(n, k)` of the best `k` of every row, -1 and 0 where there are fewer.

        Args:
            items: `(n,)` the item of each row; it is no neighbour of its own.
            common: `(n, n_items)` numbers of common users, in any order within a row.
            k: entries per row.
            min_count: smaller counts do not make a neighbour.
        """
        length = np.diff(common.indptr)
        item = np.repeat(items, length)
        key = self._key(item, common.indices, common.data)
        key[(common.data < min_count) | (common.indices == item)] = -1
        near = np.flatnonzero(key >= np.repeat(_kth_largest(key, common.indptr, k), length))
        row = np.repeat(np.arange(len(items)), length)[near]
        other, count = common.indices[near], common.data[near].astype(np.int64)
        order = np.lexsort((self.tie_break[other], -count, -key[near], row))
        place = _place_in_row(row)
        best = place < k
        row, place, order = row[best], place[best], order[best]
        ids = np.full((len(items), k), -1, dtype=np.int64)
        counts = np.zeros((len(items), k), dtype=np.int64)
        ids[row, place], counts[row, place] = other[order], count[order]
        return ids, counts

    def _key(self, item: np.ndarray, other: np.ndarray, count: np.ndarray) -> np.ndarray:
        """A number, not negative, that grows with the score; equal for equal scores.

        For counts it breaks the ties too: without that, whole rows would tie at one.
        """
        if self.score == "count":
            n = len(self.degree)
            return count.astype(np.int64) * n + (n - 1 - self.tie_break[other])
        wide = count.astype(np.float64)
        if self.score == "cosine":  # squared, and without the row's own degree: same order
            return wide * wide / self.degree[other]
        return wide / (self.degree[item] + self.degree[other] - count)


def _kth_largest(key: np.ndarray, indptr: np.ndarray, k: int) -> np.ndarray:
    """The k-th largest key of every row, at least 0, which is also the limit of short rows.

    One selection a row is several times faster than one sort of the whole block: nearly all
    entries of a block are far from the best `k`.
    """
    limit = np.zeros(len(indptr) - 1, dtype=key.dtype)
    for row in np.flatnonzero(np.diff(indptr) > k):
        mine = key[indptr[row] : indptr[row + 1]]
        limit[row] = max(0, np.partition(mine, len(mine) - k)[len(mine) - k])
    return limit


def _place_in_row(row: np.ndarray) -> np.ndarray:
    """Place of each entry among those of its row, for non-decreasing rows."""
    first = np.diff(row, prepend=-1) != 0
    starts = np.flatnonzero(first)
    return np.arange(len(row)) - starts[np.cumsum(first) - 1]
