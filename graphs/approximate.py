"""Approximate co-occurrence neighbours, for data where exact counting takes too long.

Exact counting looks at every pair of items of every user. Here each item's feedback profile is
compressed to a short vector, FAISS finds candidates near it, and only the candidates are counted
and ranked, exactly. Measure what that loses with `recall_at_k`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor

from ..tensors.faiss_import import import_faiss
from ..tensors.later import sp
from .best_items import Ranking, Similarity
from .cooccurrence import check_options, interaction_matrix
from .neighbors import Neighbors
from .resumable import Lists, Work, compute_in_parts, content_key, split_rows
from .vector_index import Search, VectorIndex

BYTES_PER_USER = 64
"""Working memory of looking up one user of a candidate pair."""
BYTES_PER_CANDIDATE = 64
"""Working memory of one candidate pair."""
COLUMNS = 32
"""Columns of the compression multiplied at a time: `(n_users, COLUMNS)` is held."""
POPULARITY = 0.25
"""Power of an item's degree that weighs it as a candidate by count. A count is a cosine times the
roots of both degrees, but the short profiles flatter popular items, so less than 1/2: of Baby's
ten neighbours 0, 1/4 and 1/2 find 92, 96 and 91 %."""
TIE = 1e-6
"""Scores that differ by less, relative to their size, are equal."""
POWER_STEPS = 2
"""More sharpen the compression no further."""


@dataclass(frozen=True)
class Candidates:
    """How likely neighbours are found.

    Attributes:
        n: items counted for each item, at least k; more raise recall and time.
        dim: length of a compressed profile.
        search: how FAISS looks for them; see `feature_knn`.
        seed: of the compression.
    """

    n: int = 200
    dim: int = 256
    search: Search = "auto"
    seed: int = 0


def approximate_neighbors(
    pairs: Tensor,
    n_users: int,
    n_items: int,
    k: int,
    *,
    similarity: Similarity | None = None,
    among: Candidates | None = None,
    how: Work | None = None,
) -> Neighbors:
    """Like `cooccurrence_neighbors`, but only among some likely items for each item.

    Counts and their ranking are exact; a neighbour that is not among the candidates is missed.
    Exact counting is the better choice wherever it is feasible, a million users with ten
    interactions each among them; only where users have many hundreds each can this way pay.

    Args:
        pairs: `(2, n)` int64 training interactions, rows users and items; repeats count once.
        n_users: number of users.
        n_items: number of items.
        k: neighbours per item.
        similarity: the score, and how many users two neighbours have in common at least.
        among: how many candidates, and how they are found.
        how: memory, threads, where finished parts lie, and whether a progress bar is shown.

    Raises:
        ConfigError: an option is out of range.
        RunError: a finished part is damaged.
    """
    similarity, how = similarity or Similarity(), how or Work()
    among = among or Candidates()
    check_options(k, similarity, how)
    score, min_count, workers = similarity.score, similarity.min_count, how.n_threads
    by_item = interaction_matrix(pairs, n_users, n_items)
    degree = np.diff(by_item.indptr)
    ranking = Ranking(degree, score)
    options = (n_users, k, *astuple(similarity), *astuple(among))
    key = content_key("approximate", by_item.indptr, by_item.indices, *options)
    profiles = compressed_profiles(by_item, among.dim, among.seed, workers)
    index = VectorIndex(_weighted(profiles, degree) if score == "count" else profiles, among.search)
    sorted_pairs = pair_numbers(by_item)
    wanted = min(max(among.n, k) + 1, n_items)  # the item itself may be found
    # Counting a pair looks up the users of the item with fewer of them.
    work = wanted * np.minimum(degree, max(1, by_item.nnz // max(1, n_items))).astype(np.int64)
    size = work * BYTES_PER_USER + wanted * BYTES_PER_CANDIDATE
    block = how.memory_mib * 2**20 // workers

    def compute(start: int, stop: int) -> Lists:
        import_faiss().omp_set_num_threads(1)  # of this thread; the others have parts of their own
        found = []
        for a, b in split_rows(size[start:stop], block):
            items = np.arange(start + a, start + b)
            _, candidates = index.search(profiles[items], wanted)
            common = count_candidates(
                by_item, sorted_pairs, items, candidates, block // BYTES_PER_USER
            )
            found.append(ranking.top_k(items, common, k, min_count))
        return np.concatenate([ids for ids, _ in found]), np.concatenate([n for _, n in found])

    ids, counts = compute_in_parts(compute, work, k, key=key, title="candidates", how=how)
    return Neighbors(torch.from_numpy(ids), torch.from_numpy(counts))


def _weighted(profiles: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Profiles longer for popular items, which have more users in common with anyone."""
    weight = np.maximum(degree, 1).astype(np.float32) ** POPULARITY
    return profiles * weight[:, None]


def pair_numbers(by_item: sp.csr_array) -> np.ndarray:
    """`(nnz,)` int64 increasing numbers `item * n_users + user` of the interactions."""
    n_items, n_users = by_item.shape
    owner = np.repeat(np.arange(n_items, dtype=np.int64), np.diff(by_item.indptr))
    return owner * n_users + by_item.indices


def count_candidates(
    by_item: sp.csr_array,
    sorted_pairs: np.ndarray,
    items: np.ndarray,
    candidates: np.ndarray,
    chunk: int,
) -> sp.csr_array:
    """Common users of each item with its candidates, `(n, n_items)`.

    Looks up each user of the item with fewer users among those of the other, so a pair of a
    rare and a popular item costs no more than the rare one.

    Args:
        by_item: `(n_items, n_users)` with sorted columns.
        sorted_pairs: its `pair_numbers`.
        items: `(n,)`.
        candidates: `(n, c)` item ids without repeats in a row, -1 for none.
        chunk: users looked up at a time.
    """
    n_items, n_users = by_item.shape
    degree = np.diff(by_item.indptr)
    row, place = np.nonzero(candidates >= 0)
    item, other = items[row], candidates[row, place]
    swap = degree[item] > degree[other]
    rare, popular = np.where(swap, other, item), np.where(swap, item, other)
    common = np.zeros(len(row), dtype=np.int32)
    for a, b in split_rows(degree[rare], chunk):
        length = degree[rare[a:b]]
        pair = np.repeat(np.arange(b - a), length)
        first = np.cumsum(length) - length
        user = by_item.indices[by_item.indptr[rare[a:b]][pair] + np.arange(len(pair)) - first[pair]]
        sought = popular[a:b][pair] * n_users + user
        place_of = np.searchsorted(sorted_pairs, sought)
        hit = sorted_pairs[np.minimum(place_of, len(sorted_pairs) - 1)] == sought
        common[a:b] = np.bincount(pair[hit], minlength=b - a)
    return sp.csr_array((common, (row, other)), shape=(len(items), n_items))


def compressed_profiles(by_item: sp.csr_array, dim: int, seed: int, workers: int = 1) -> np.ndarray:
    """Unit item profiles `(n_items, dim)` float32 whose products are close to feedback's cosines.

    Nystroem approximation of `A A^T`, `A = diag(d_i)^-1/2 R^T diag(d_u)^-1/4`, after a few steps
    of subspace iteration; only item-sized tables and a few columns of users are held. Damping
    active users by that exponent finds more true neighbours than either none or the usual 1/2.
    """
    item_degree = np.maximum(by_item.sum(axis=1), 1.0)
    user_degree = np.maximum(by_item.sum(axis=0), 1.0)
    scaled = sp.diags_array(item_degree**-0.5) @ by_item @ sp.diags_array(user_degree**-0.25)
    scaled = sp.csr_array(scaled.astype(np.float32))
    transposed = scaled.T.tocsr()

    def times(basis: np.ndarray) -> np.ndarray:
        blocks = [basis[:, c : c + COLUMNS] for c in range(0, basis.shape[1], COLUMNS)]
        with ThreadPoolExecutor(workers) as pool:
            return np.hstack(list(pool.map(lambda block: scaled @ (transposed @ block), blocks)))

    rng = np.random.default_rng(seed)
    width = min(dim, *by_item.shape)
    basis = rng.standard_normal((by_item.shape[0], width), dtype=np.float32)
    for _ in range(POWER_STEPS):
        basis = np.linalg.qr(times(basis))[0]
    image = times(basis)
    value, vector = np.linalg.eigh((basis.T @ image + image.T @ basis) / 2)
    real = value > 1e-6 * value.max(initial=0.0)
    profiles = image @ (vector[:, real] / np.sqrt(value[real]))
    length = np.linalg.norm(profiles, axis=1, keepdims=True)
    return np.ascontiguousarray(profiles / np.maximum(length, 1e-12), dtype=np.float32)


def recall_at_k(approx: Neighbors, exact: Neighbors) -> float:
    """Share of the exact neighbours that the approximate lists hold, over all items.

    Both are lists of the same items. Where both have scores, ties are hits: an item counts that
    scores as high as the last of the exact list, whichever it is, as in `feature_neighbors`.
    1.0 if there are no exact neighbours.
    """
    wanted = (exact.ids >= 0).sum(1)
    n_exact = int(wanted.sum())
    if n_exact == 0:
        return 1.0
    if approx.scores is not None and exact.scores is not None:
        last = exact.scores.masked_fill(exact.ids < 0, torch.inf).amin(1, keepdim=True)
        good = (approx.ids >= 0) & (approx.scores >= last * (1 - TIE))
        return int(torch.minimum(good.sum(1), wanted).sum()) / n_exact
    found = 0
    for mine, true in zip(approx.ids.split(4096), exact.ids.split(4096), strict=True):
        match = (true.unsqueeze(2) == mine.unsqueeze(1)) & (true >= 0).unsqueeze(2)
        found += int(match.any(2).sum())
    return found / n_exact
