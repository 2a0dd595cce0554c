"""Co-occurrence neighbours: exact counts of common users, by blocked sparse products."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from tqdm import tqdm

from ..errors import ConfigError, unknown_name
from .neighbors import Neighbors

Score = Literal["count", "cosine", "jaccard"]
SCORES = ("count", "cosine", "jaccard")
BYTES_PER_ENTRY = 96
"""Peak bytes per non-zero of a block: the product and what ranking it needs."""
BLOCK_MIB = 32
"""Larger blocks than this fall out of the processor's cache and are slower."""


def cooccurrence_neighbors(
    pairs: Tensor,
    n_users: int,
    n_items: int,
    k: int,
    *,
    score: Score = "count",
    min_count: int = 1,
    rows: Tensor | None = None,
    memory_mib: int = 512,
    progress: bool = False,
) -> Neighbors:
    """The `k` items that share most users with each item (CROSS, neighbour-level alignment).

    Ranked by `score` descending, then count of common users descending, then cosine
    `C_ij / sqrt(d_i d_j)` descending, then the smaller item id. Exact and deterministic.

    Args:
        pairs: `(2, n)` int64 training interactions, rows users and items; repeats count once.
        n_users: number of users.
        n_items: number of items.
        k: neighbours per item.
        score: `count` C_ij; `cosine` C_ij / sqrt(d_i d_j); `jaccard` C_ij / (d_i + d_j - C_ij).
        min_count: pairs of items with fewer common users are not neighbours.
        rows: `(n,)` int64, the items whose neighbours are wanted; None is all of them.
        memory_mib: bound on the working memory of a block of rows.
        progress: show a progress bar.

    Raises:
        ConfigError: an option is out of range.
    """
    check_options(score, k, min_count, memory_mib)
    by_item = interaction_matrix(pairs, n_users, n_items)
    by_user = by_item.T.tocsr()
    ranking = Ranking(np.diff(by_item.indptr), score)
    wanted = np.arange(n_items) if rows is None else rows.numpy()
    by_item = by_item if rows is None else by_item[wanted]
    ids = np.full((len(wanted), k), -1, dtype=np.int64)
    counts = np.zeros((len(wanted), k), dtype=np.int64)
    blocks = row_blocks(by_item, by_user, memory_mib)
    for start, stop in tqdm(blocks, desc="co-occurrence", unit="block", disable=not progress):
        common = (by_item[start:stop] @ by_user).tocoo()
        row, col, count = common.row, common.col, common.data
        item = wanted[start + row]
        keep = (count >= min_count) & (col != item)
        row, item, col, count = row[keep], item[keep], col[keep], count[keep]
        best, place = ranking.top_k(row, item, col, count, k)
        ids[start + row[best], place] = col[best]
        counts[start + row[best], place] = count[best]
    return Neighbors(torch.from_numpy(ids), torch.from_numpy(counts))


def check_options(score: str, k: int, min_count: int, memory_mib: int) -> None:
    """Raise `ConfigError` for options of a neighbour search that are out of range."""
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    for name, value in (("k", k), ("min_count", min_count), ("memory_mib", memory_mib)):
        if value < 1:
            raise ConfigError(f"{name} of a neighbour search must be at least 1, got {value}")


def interaction_matrix(pairs: Tensor, n_users: int, n_items: int) -> sparse.csr_array:
    """Binary `(n_items, n_users)` int64 matrix of the pairs, repeats merged."""
    users, items = pairs.cpu().numpy()
    ones = np.ones(len(users), dtype=np.int64)
    matrix = sparse.csr_array((ones, (items, users)), shape=(n_items, n_users))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def row_blocks(
    by_item: sparse.csr_array, by_user: sparse.csr_array, memory_mib: int
) -> list[tuple[int, int]]:
    """Ranges of items whose product with `by_user` stays below `memory_mib`."""
    n_rows, n_items = by_item.shape[0], by_user.shape[1]
    user_degree = np.diff(by_user.indptr).astype(np.int64)
    # A row has at most one entry per (user of the item, item of that user), and n_items at most.
    bound = np.minimum(by_item @ user_degree, n_items)
    block = np.cumsum(bound * BYTES_PER_ENTRY) // (min(memory_mib, BLOCK_MIB) * 2**20)
    edges = np.flatnonzero(np.diff(block)) + 1
    limits = [0, *edges.tolist(), n_rows]
    return [(a, b) for a, b in itertools.pairwise(limits) if a < b]


class Ranking:
    """The order of an item's co-occurring items.

    Args:
        degree: `(n_items,)` users of each item.
        score: what is ranked by first; see `cooccurrence_neighbors`.
    """

    def __init__(self, degree: np.ndarray, score: Score) -> None:
        self.degree = degree.astype(np.int64)
        self.score = score
        # At equal counts with one item, a higher cosine is a smaller degree of the other. So the
        # place in the order by degree, then id, is the tie-break "cosine, then smaller id".
        self.tie_break = np.empty(len(degree), dtype=np.int64)
        self.tie_break[np.argsort(degree, kind="stable")] = np.arange(len(degree))

    def top_k(
        self, row: np.ndarray, item: np.ndarray, other: np.ndarray, count: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the best `k` entries of every row, and their places `0 .. k - 1`.

        Args:
            row: `(n,)` non-decreasing row numbers from 0, one row per item.
            item: `(n,)` the item of the row.
            other: `(n,)` an item that shares users with it.
            count: `(n,)` number of users they share.
            k: entries per row.
        """
        value = self._value(item, other, count)
        near = _near_top_k(row, self._rough(value, other), k)
        row, other, count, value = row[near], other[near], count[near], value[near]
        order = np.lexsort((self.tie_break[other], -count, -value, row))
        place = _place_in_row(row)
        best = place < k
        return near[order[best]], place[best]

    def _value(self, item: np.ndarray, other: np.ndarray, count: np.ndarray) -> np.ndarray:
        """The score; within a row, equal scores are equal floating-point numbers."""
        if self.score == "count":
            return count.astype(np.float64)
        if self.score == "cosine":  # squared: the quotient of two integers is rounded only once
            return count * count.astype(np.float64) / (self.degree[item] * self.degree[other])
        return count / (self.degree[item] + self.degree[other] - count)

    def _rough(self, value: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Numbers in (0, 1], smaller for better entries, that break ties between counts."""
        if self.score != "count":
            return 1.0 - value
        better = value + 1.0 - self.tie_break[other] / len(self.degree)
        return 1.0 - better / (value.max(initial=0.0) + 2.0)


def _near_top_k(row: np.ndarray, rough: np.ndarray, k: int) -> np.ndarray:
    """Positions of the `k` smallest `rough` numbers of each row, and of all too near to call.

    One sort of plain numbers, row + rough, is several times faster than ranking all entries.
    """
    key = row + rough * 0.75
    in_order = np.sort(key)
    first = np.flatnonzero(np.diff(row, prepend=-1))
    last = np.minimum(first + k, np.append(first[1:], len(row))) - 1
    slack = 16 * np.finfo(np.float64).eps * (1 + row.max(initial=0))
    limit = np.zeros(row.max(initial=0) + 1)
    limit[row[first]] = in_order[last] + slack
    return np.flatnonzero(key <= limit[row])


def _place_in_row(row: np.ndarray) -> np.ndarray:
    """Place of each entry among those of its row, for non-decreasing rows."""
    first = np.diff(row, prepend=-1) != 0
    starts = np.flatnonzero(first)
    return np.arange(len(row)) - starts[np.cumsum(first) - 1]
