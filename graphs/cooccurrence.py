"""Co-occurrence neighbours: exact counts of common users, by blocked sparse products.

The work is one addition for every pair of items of every user. Each is a jump to another user's
list, some 20 ns where the lists are not in the processor's cache. Counting only items above the
diagonal would halve that, but every row would have to be kept until the last one is counted.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, unknown_name
from ..tensors.later import sp
from .best_items import SCORES, Ranking, Similarity
from .neighbors import Neighbors
from .resumable import Lists, Work, compute_in_parts, content_key, split_rows

BYTES_PER_ENTRY = 64
"""Peak bytes per non-zero of a block: the product and what ranking it needs."""
BLOCK_MIB = 32
"""Larger blocks than this fall out of the processor's cache and are slower."""


def cooccurrence_neighbors(
    pairs: Tensor,
    n_users: int,
    n_items: int,
    k: int,
    *,
    similarity: Similarity | None = None,
    rows: Tensor | None = None,
    how: Work | None = None,
) -> Neighbors:
    """The `k` items that share most users with each item (CROSS, neighbour-level alignment).

    Ranked by score descending, then count of common users descending, then cosine
    `C_ij / sqrt(d_i d_j)` descending, then the smaller item id. Exact and deterministic.

    Args:
        pairs: `(2, n)` int64 training interactions, rows users and items; repeats count once.
        n_users: number of users.
        n_items: number of items.
        k: neighbours per item.
        similarity: the score, and how many users two neighbours have in common at least.
        rows: `(n,)` int64, the items whose neighbours are wanted; None is all of them.
        how: memory, threads, where finished parts lie, and whether a progress bar is shown.

    Raises:
        ConfigError: an option is out of range.
        RunError: a finished part is damaged.
    """
    similarity, how = similarity or Similarity(), how or Work()
    check_options(k, similarity, how)
    score, min_count = similarity.score, similarity.min_count
    by_item = interaction_matrix(pairs, n_users, n_items)
    by_user = by_item.T.tocsr()
    ranking = Ranking(np.diff(by_item.indptr), score)
    wanted = np.arange(n_items) if rows is None else rows.numpy()
    key = content_key(
        "exact", by_item.indptr, by_item.indices, wanted, n_users, k, score, min_count
    )
    by_item = by_item if rows is None else by_item[wanted]
    work = pair_counts(by_item, by_user)
    # A row has at most one entry for each pair counted, and n_items at most.
    size = np.minimum(work, n_items) * BYTES_PER_ENTRY
    block = min(how.memory_mib // how.n_threads, BLOCK_MIB) * 2**20

    def compute(start: int, stop: int) -> Lists:
        found = []
        for a, b in split_rows(size[start:stop], block):
            common = by_item[start + a : start + b] @ by_user
            found.append(ranking.top_k(wanted[start + a : start + b], common, k, min_count))
        return np.concatenate([ids for ids, _ in found]), np.concatenate([n for _, n in found])

    ids, counts = compute_in_parts(compute, work, k, key=key, title="co-occurrence", how=how)
    return Neighbors(torch.from_numpy(ids), torch.from_numpy(counts))


def check_options(k: int, similarity: Similarity, how: Work) -> None:
    """Raise `ConfigError` for options of a neighbour search that are out of range."""
    if similarity.score not in SCORES:
        raise unknown_name("score", similarity.score, SCORES)
    limits = {
        "k": k,
        "min_count": similarity.min_count,
        "memory_mib": how.memory_mib,
        "workers": how.n_threads,
    }
    for name, value in limits.items():
        if value < 1:
            raise ConfigError(f"{name} of a neighbour search must be at least 1, got {value}")


def interaction_matrix(pairs: Tensor, n_users: int, n_items: int) -> sp.csr_array:
    """Binary `(n_items, n_users)` int32 matrix of the pairs, repeats merged.

    Half the bytes of int64 make the product of two such matrices twice as fast.
    """
    users, items = pairs.cpu().numpy()
    ones = np.ones(len(users), dtype=np.int32)
    matrix = sp.csr_array((ones, (items, users)), shape=(n_items, n_users))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def pair_counts(by_item: sp.csr_array, by_user: sp.csr_array) -> np.ndarray:
    """`(n,)` int64 pairs (user of the row's item, item of that user): what counting costs."""
    return by_item.astype(np.int64) @ np.diff(by_user.indptr).astype(np.int64)
