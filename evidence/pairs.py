"""What one item says for another, by the users they share: sparse lists, made in blocks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..graphs.best_items import Similarity
from ..graphs.cooccurrence import (
    BYTES_PER_ENTRY,
    cooccurrence_neighbors,
    interaction_matrix,
    pair_counts,
)
from ..graphs.resumable import Work, split_rows
from ..tensors.later import sp

BLOCK_BYTES = 32 << 20


def cosine_lists(
    pairs: Tensor, n_users: int, n_items: int, k: int, *, memory_mib: int = 512
) -> sp.csr_matrix:
    """`c_ij / sqrt(d_i d_j)` of each item's `k` nearest by it, `(n_items, n_items)`.

    `c_ij` users have both items, `d_i` have item i; an item says nothing for itself.

    Args:
        pairs: `(2, n)` int64 training interactions.
        n_users: number of users.
        n_items: number of items.
        k: entries kept of each row.
        memory_mib: bound on the working memory.
    """
    found = cooccurrence_neighbors(
        pairs, n_users, n_items, k, similarity=Similarity("cosine"), how=Work(memory_mib=memory_mib)
    )
    place, rank = (found.ids >= 0).nonzero(as_tuple=True)
    others, counts = found.ids[place, rank], found.counts[place, rank]
    degree = torch.unique(pairs, dim=1)[1].bincount(minlength=n_items).double()
    values = (counts / (degree[place] * degree[others]).sqrt()).float()
    return sp.csr_matrix(
        (values.numpy(), (place.numpy(), others.numpy())), shape=(n_items, n_items)
    )


def allocation_lists(pairs: Tensor, n_users: int, n_items: int, k: int) -> sp.csr_matrix:
    """The same with users that share one unit among their items, `(n_items, n_items)`.

    `sum_u x_ui x_uj / d_u / sqrt(d_i d_j)`: who has few items says more about each pair of them.
    Zhou et al., "Bipartite network projection and personal recommendation", Physical Review E
    2007, made symmetric; the arguments are those of `cosine_lists`.
    """
    by_item = interaction_matrix(pairs, n_users, n_items)
    by_user = by_item.T.tocsr()
    size = np.minimum(pair_counts(by_item, by_user), n_items) * BYTES_PER_ENTRY
    scale = 1 / np.sqrt(np.maximum(np.diff(by_item.indptr), 1))
    by_item = by_item.astype(np.float64)
    share = sp.diags_array(1 / np.maximum(np.diff(by_user.indptr), 1)) @ by_user
    blocks = []
    for first, last in split_rows(size, BLOCK_BYTES):
        block = sp.csr_matrix(by_item[first:last] @ share)
        row = np.repeat(np.arange(first, last), np.diff(block.indptr))
        block.data *= scale[row] * scale[block.indices]
        block.data[row == block.indices] = 0.0
        blocks.append(largest_of_rows(block, k))
    return sp.vstack(blocks, format="csr").astype(np.float32)


def largest_of_rows(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The `k` entries of every row that are largest without their sign; equal ones by column."""
    matrix.eliminate_zeros()
    matrix.sort_indices()
    kept = np.ones(matrix.nnz, dtype=bool)
    for row in np.flatnonzero(np.diff(matrix.indptr) > k):
        first, last = matrix.indptr[row : row + 2]
        order = np.argsort(-np.abs(matrix.data[first:last]), kind="stable")
        kept[first + order[k:]] = False
    counts = np.add.reduceat(np.append(kept, False), matrix.indptr[:-1], dtype=np.int64)
    counts[np.diff(matrix.indptr) == 0] = 0
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sp.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


def largest_of_square(weights: np.ndarray, k: int) -> sp.csr_matrix:
    """The `k` entries of every column of a dense square that are largest without their sign.

    Args:
        weights: `(n_items, n_items)` float32.
        k: entries kept of each column.
    """
    n_items = len(weights)
    k = min(k, n_items)
    step = max(1, BLOCK_BYTES // (4 * n_items))
    blocks = []
    for first in range(0, n_items, step):
        columns = np.ascontiguousarray(weights[:, first : first + step].T)
        kept = np.argpartition(-np.abs(columns), k - 1, axis=1)[:, :k]
        rows = np.repeat(np.arange(len(columns)), k)
        values = np.take_along_axis(columns, kept, axis=1).ravel()
        block = sp.csr_matrix((values, (rows, kept.ravel())), shape=columns.shape)
        block.eliminate_zeros()
        blocks.append(block)
    return sp.vstack(blocks, format="csr").T.tocsr()
