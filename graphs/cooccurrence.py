"""Co-occurrence neighbours: exact counts of common users, by blocked sparse products."""

from __future__ import annotations

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
BYTES_PER_ENTRY = 64
"""Peak bytes per non-zero of a block: the product and what ranking it needs."""


def cooccurrence_neighbors(
    pairs: Tensor,
    n_users: int,
    n_items: int,
    k: int,
    *,
    score: Score = "count",
    min_count: int = 1,
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
        memory_mib: bound on the working memory of a block of rows.
        progress: show a progress bar.

    Raises:
        ConfigError: an option is out of range.
    """
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    if k < 1 or min_count < 1 or memory_mib < 1:
        raise ConfigError("k, min_count and memory_mib of neighbours must be at least 1")
    by_item = interaction_matrix(pairs, n_users, n_items)
    by_user = by_item.T.tocsr()
    degree = np.diff(by_item.indptr).astype(np.int64)
    rank = popularity_rank(degree)
    ids = np.full((n_items, k), -1, dtype=np.int64)
    counts = np.zeros((n_items, k), dtype=np.int64)
    blocks = row_blocks(by_item, by_user, memory_mib)
    for start, stop in tqdm(blocks, desc="co-occurrence", unit="block", disable=not progress):
        common = (by_item[start:stop] @ by_user).tocoo()
        keep = (common.data >= min_count) & (common.col != common.row + start)
        row, col, count = common.row[keep], common.col[keep], common.data[keep]
        best, place = top_k(row, col, count, degree[start + row], degree, rank, k, score)
        ids[start + row[best], place] = col[best]
        counts[start + row[best], place] = count[best]
    return Neighbors(torch.from_numpy(ids), torch.from_numpy(counts))


def interaction_matrix(pairs: Tensor, n_users: int, n_items: int) -> sparse.csr_array:
    """Binary `(n_items, n_users)` int64 matrix of the pairs, repeats merged."""
    users, items = pairs.cpu().numpy()
    ones = np.ones(len(users), dtype=np.int64)
    matrix = sparse.csr_array((ones, (items, users)), shape=(n_items, n_users))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def popularity_rank(degree: np.ndarray) -> np.ndarray:
    """`(n_items,)` place of each item when sorted by degree, then id.

    Among pairs of one item with equal counts, a higher cosine is a smaller degree of the other
    item, so this integer is the exact tie-break "cosine descending, then smaller id".
    """
    rank = np.empty(len(degree), dtype=np.int64)
    rank[np.argsort(degree, kind="stable")] = np.arange(len(degree))
    return rank


def row_blocks(
    by_item: sparse.csr_array, by_user: sparse.csr_array, memory_mib: int
) -> list[tuple[int, int]]:
    """Ranges of items whose product with `by_user` stays below `memory_mib`."""
    n_items = by_item.shape[0]
    user_degree = np.diff(by_user.indptr).astype(np.int64)
    # A row has at most one entry per (user of the item, item of that user), and n_items at most.
    bound = np.minimum(by_item @ user_degree, n_items)
    block = np.cumsum(bound * BYTES_PER_ENTRY) // (memory_mib * 2**20)
    edges = np.flatnonzero(np.diff(block)) + 1
    limits = [0, *edges.tolist(), n_items]
    return [(a, b) for a, b in zip(limits[:-1], limits[1:], strict=True) if a < b]


def top_k(
    row: np.ndarray,
    col: np.ndarray,
    count: np.ndarray,
    row_degree: np.ndarray,
    degree: np.ndarray,
    rank: np.ndarray,
    k: int,
    score: Score,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the best `k` entries of every row, and their places `0 .. k - 1`."""
    keys = [rank[col], -count]
    if score == "cosine":
        # Squared cosine times the degree of the row: equal fractions give equal numbers.
        keys.append(-(count * count / degree[col]))
    elif score == "jaccard":
        keys.append(-(count / (row_degree + degree[col] - count)))
    order = np.lexsort([*keys, row])
    sorted_row = row[order]
    place = np.arange(len(order)) - np.searchsorted(sorted_row, sorted_row, side="left")
    best = place < k
    return order[best], place[best]
