"""Approximate co-occurrence neighbours, for catalogues where exact counting takes too long.

Exact counting looks at every pair of items of every user. Here each item's feedback profile is
compressed to a short vector, FAISS finds candidates near it, and only the candidates are counted
and ranked, exactly. Measure what that loses with `recall_at_k`.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from tqdm import tqdm

from .cooccurrence import Ranking, Score, check_options, interaction_matrix
from .knn import Search, feature_knn
from .neighbors import Neighbors

COUNT_BLOCK = 2**21
"""Non-zeros gathered at a time when candidates are counted."""


def approximate_neighbors(
    pairs: Tensor,
    n_users: int,
    n_items: int,
    k: int,
    *,
    score: Score = "count",
    min_count: int = 1,
    n_candidates: int = 200,
    dim: int = 256,
    search: Search = "auto",
    seed: int = 0,
    memory_mib: int = 512,
    progress: bool = False,
) -> Neighbors:
    """Like `cooccurrence_neighbors`, but only among `n_candidates` likely items for each item.

    Counts and their ranking are exact; a neighbour that is not among the candidates is missed.
    On Amazon Baby the defaults find 93 % of the exact ten neighbours by count and 97 % by
    cosine; see `recall_at_k`. Exact counting takes a third of a second there and is the better
    choice by far: this way pays only where users have many hundreds of interactions each.

    Args:
        pairs: `(2, n)` int64 training interactions, rows users and items; repeats count once.
        n_users: number of users.
        n_items: number of items.
        k: neighbours per item.
        score: `count`, `cosine` or `jaccard`, as in `cooccurrence_neighbors`.
        min_count: pairs of items with fewer common users are not neighbours.
        n_candidates: items counted for each item; more raise the recall and the time.
        dim: length of a compressed profile.
        search: how FAISS looks for candidates; see `feature_knn`.
        seed: of the compression.
        memory_mib: bound on the working memory of the candidate search.
        progress: show a progress bar.

    Raises:
        ConfigError: an option is out of range.
    """
    check_options(score, k, min_count, memory_mib)
    by_item = interaction_matrix(pairs, n_users, n_items)
    profiles = compressed_profiles(by_item, dim, seed)
    candidates, _ = feature_knn(
        profiles, n_candidates, include_self=False, search=search, memory_mib=memory_mib
    )
    ranking = Ranking(np.diff(by_item.indptr), score)
    ids = np.full((n_items, k), -1, dtype=np.int64)
    counts = np.zeros((n_items, k), dtype=np.int64)
    step = max(1, COUNT_BLOCK // (n_candidates * max(1, by_item.nnz // max(1, n_items))))
    for start in tqdm(range(0, n_items, step), desc="candidates", disable=not progress):
        block = candidates[start : start + step].numpy()
        row, column = np.nonzero(block >= 0)
        other = block[row, column]
        common = by_item[start + row].multiply(by_item[other]).sum(axis=1)
        keep = common >= min_count
        row, other, common = row[keep], other[keep], common[keep]
        best, place = ranking.top_k(row, start + row, other, common, k)
        ids[start + row[best], place] = other[best]
        counts[start + row[best], place] = common[best]
    return Neighbors(torch.from_numpy(ids), torch.from_numpy(counts))


def compressed_profiles(by_item: sparse.csr_array, dim: int, seed: int) -> Tensor:
    """Item profiles `(n_items, dim)` whose cosines are close to those of the feedback.

    Truncated SVD of `diag(d_i)^-1/2 R^T diag(d_u)^-1/4`. Damping active users by that exponent
    finds more true neighbours than either none or the usual 1/2.
    """
    from sklearn.decomposition import TruncatedSVD

    item_degree = np.maximum(by_item.sum(axis=1), 1.0)
    user_degree = np.maximum(by_item.sum(axis=0), 1.0)
    scaled = (
        sparse.diags_array(item_degree**-0.5)
        @ by_item.astype(np.float32)
        @ sparse.diags_array(user_degree**-0.25)
    ).tocsr()
    svd = TruncatedSVD(min(dim, *by_item.shape), n_iter=2, random_state=seed)
    return torch.from_numpy(svd.fit_transform(scaled).astype(np.float32))


def recall_at_k(approx: Neighbors, exact: Neighbors) -> float:
    """Share of the exact neighbours that the approximate lists hold, over all items.

    Both are lists of the same items; 1.0 if there are no exact neighbours.
    """
    n_exact = int((exact.ids >= 0).sum())
    if n_exact == 0:
        return 1.0
    found = 0
    for mine, true in zip(approx.ids.split(4096), exact.ids.split(4096), strict=True):
        match = (true.unsqueeze(2) == mine.unsqueeze(1)) & (true >= 0).unsqueeze(2)
        found += int(match.any(2).sum())
    return found / n_exact
