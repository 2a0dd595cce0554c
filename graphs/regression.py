"""Neighbours that predict an item best: ridge regression on feedback and content together.

Item i is regressed on its candidates C, the items nearest to it by feedback and by each modality,

    w_i = argmin |x_i - X_C w|^2 + sum_m a_m |f_mi - F_mC w|^2 + ridge |w|^2
        = (G_CC + ridge I)^-1 G_Ci,    G = X'X + sum_m a_m F_m F_m',

with training interactions `X (n_users, n_items)` and unit feature rows `F_m (n_items, d_m)`: each
feature counts as further users, who have an item to the degree that it has the feature. The more
users an item has, the less its content counts. With all items as candidates `w_i` is a column of
EASE (Steck, WWW 2019), which needs the inverse of a dense square; with a few of them it is one
small system an item, as in SLIM over feature-selected items (Ning and Karypis, ICDM 2011).

How far a modality is believed, `a_m`, is what feedback says of it: see `content_trust`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..errors import ConfigError
from ..progress import Bar
from ..tensors.functional import unit_rows
from ..tensors.later import sp
from .approximate import count_candidates, pair_numbers
from .best_items import Similarity
from .cooccurrence import cooccurrence_neighbors, interaction_matrix
from .knn import feature_knn
from .neighbors import Neighbors
from .resumable import Work

NEAREST = 10
"""Items nearest by content whose feedback `content_trust` looks at."""
LOOKED_UP = 2**22
"""Users looked up at a time where common users of pairs of items are counted."""


@dataclass(frozen=True)
class Regression:
    """What the neighbours of an item are regressed on, and how strongly.

    Attributes:
        candidates: nearest items by feedback, and as many by each modality.
        ridge: of the squared weights, positive.
        content_weight: of content beside feedback; 0 reads no content.
    """

    candidates: int = 20
    ridge: float = 200.0
    content_weight: float = 20.0


def regressed_neighbors(
    dataset: Dataset, k: int, regression: Regression | None = None, how: Work | None = None
) -> Neighbors:
    """The `k` items with the largest positive weights in the regression of each item.

    Args:
        dataset: its training split and its content are read.
        k: neighbours per item; only candidates are.
        regression: candidates and weights.
        how: memory, and whether a progress bar is shown.

    Returns:
        Neighbours whose `scores` are the weights; an item has fewer than `k` where fewer weights
        are positive. Equal weights are ordered by item id.

    Raises:
        ConfigError: an option is out of range.
    """
    regression, how = regression or Regression(), how or Work()
    _check(k, regression)
    by_item = interaction_matrix(dataset.train, dataset.n_users, dataset.n_items)
    near: dict[str, Tensor] = {}
    if regression.content_weight:
        near = _nearest(dataset, max(NEAREST, regression.candidates))
    trust = _trust(near, by_item)
    content = {
        name: (unit_rows(dataset.features[name]), regression.content_weight * share)
        for name, share in trust.items()
        if share > 0
    }
    believed = [near[name] for name in content]
    candidates = _candidates(dataset, believed, regression.candidates, how)
    width = candidates.shape[1]
    # The squares of a block and their factors, twice, and the feature rows of its candidates.
    features = sum(table.shape[1] for table, _ in content.values())
    row_bytes = 8 * width * (4 * width + features)
    step = max(1, how.memory_mib * 2**20 // row_bytes)
    starts = range(0, dataset.n_items, step)
    found = []
    for start in Bar(starts, desc="regression", disable=not how.progress):
        items = np.arange(start, min(start + step, dataset.n_items))
        weights = _solve(items, candidates[items], by_item, content, regression.ridge)
        found.append(_largest(candidates[items], weights, k))
    ids, scores = (np.concatenate(part) for part in zip(*found, strict=True))
    counts = _common_users(by_item, ids)
    return Neighbors(torch.from_numpy(ids), torch.from_numpy(counts), {}, torch.from_numpy(scores))


def content_trust(dataset: Dataset) -> dict[str, float]:
    """How far feedback confirms each modality: 0 for content that says nothing, below 1.

    The lift of a modality is the mean feedback cosine `c_ij / sqrt(d_i d_j)` of items with their
    `NEAREST` items by content, in units of that of random pairs: 1 for content that says nothing.
    A modality's trust is `max(0, lift - 1) / (largest lift)`, and 0 where there is no feedback in
    common at all.
    """
    by_item = interaction_matrix(dataset.train, dataset.n_users, dataset.n_items)
    return _trust(_nearest(dataset, NEAREST), by_item)


def _nearest(dataset: Dataset, k: int) -> dict[str, Tensor]:
    """Modality -> `(n_items, k)` ids of the items nearest by it, best first."""
    return {
        name: feature_knn(table, k, include_self=False, missing=dataset.missing.get(name))[0]
        for name, table in dataset.features.items()
    }


def _trust(nearest: Mapping[str, Tensor], by_item: sp.csr_array) -> dict[str, float]:
    """`content_trust` from the nearest items of each modality."""
    scale = 1 / np.sqrt(np.maximum(np.diff(by_item.indptr), 1))
    chance = _mean_cosine(by_item, scale)
    if not chance:
        return dict.fromkeys(nearest, 0.0)
    lift = {}
    for name, ids in nearest.items():
        near = ids[:, :NEAREST].numpy()
        common = _common_users(by_item, near) * scale[:, None] * scale[near]
        pairs = np.count_nonzero(near >= 0)
        lift[name] = float(common.sum() / max(1, pairs) / chance)
    most = max(lift.values(), default=1.0)
    return {name: max(0.0, value - 1.0) / max(most, 1.0) for name, value in lift.items()}


def _check(k: int, regression: Regression) -> None:
    for name, value, least in (
        ("k", k, 1),
        ("candidates", regression.candidates, 1),
        ("content_weight", regression.content_weight, 0),
    ):
        if not value >= least:
            raise ConfigError(f"{name} of regressed neighbours must be at least {least}: {value}")
    if not regression.ridge > 0:
        raise ConfigError(f"ridge of regressed neighbours must be positive: {regression.ridge}")


def _candidates(dataset: Dataset, content: list[Tensor], n: int, how: Work) -> np.ndarray:
    """`(n_items, n_candidates)` sorted ids of each item's candidates; -1, first, where fewer."""
    n = max(1, min(n, dataset.n_items - 1))
    near = [
        cooccurrence_neighbors(
            dataset.train,
            dataset.n_users,
            dataset.n_items,
            n,
            similarity=Similarity("cosine"),
            how=Work(how.memory_mib, how.workers),
        ).ids
    ]
    near += [ids[:, :n] for ids in content]
    found = torch.cat(near, dim=1).sort(dim=1).values.numpy()
    found[:, 1:][found[:, 1:] == found[:, :-1]] = -1
    return np.sort(found, axis=1)


def _solve(
    items: np.ndarray,
    candidates: np.ndarray,
    by_item: sp.csr_array,
    content: Mapping[str, tuple[Tensor, float]],
    ridge: float,
) -> np.ndarray:
    """Weights `(n, n_candidates)` of the candidates `(n, n_candidates)` of some items, float32."""
    there = torch.from_numpy(candidates >= 0)
    both = np.concatenate([items[:, None], candidates], axis=1)
    gram = torch.from_numpy(_feedback_gram(both, by_item))
    index = torch.from_numpy(both).clamp(min=0)
    for table, weight in content.values():
        rows = table[index].double()
        gram += weight * (rows @ rows.mT)
    square, target = gram[:, 1:, 1:], gram[:, 1:, :1]
    square = square * (there[:, :, None] & there[:, None, :])
    square.diagonal(dim1=1, dim2=2).add_(ridge)
    solved = torch.cholesky_solve(target * there[:, :, None], torch.linalg.cholesky(square))
    return (solved[:, :, 0] * there).float().numpy()


def _feedback_gram(ids: np.ndarray, by_item: sp.csr_array) -> np.ndarray:
    """Common users of all pairs in each row of ids `(n, m)`, `(n, m, m)` float64; 0 for -1."""
    known = ids >= 0
    rows, place = np.unique(ids[known], return_inverse=True)
    among = by_item[rows]
    common = sp.csr_array(among @ among.T)
    common.sort_indices()
    size = len(rows)
    held = np.repeat(np.arange(size, dtype=np.int64), np.diff(common.indptr)) * size
    held += common.indices
    where = np.full(ids.shape, -1, dtype=np.int64)
    where[known] = place
    wanted = np.where(
        known[:, :, None] & known[:, None, :], where[:, :, None] * size + where[:, None, :], -1
    )
    at = np.minimum(np.searchsorted(held, wanted.ravel()), max(0, len(held) - 1))
    counts = np.where(held[at] == wanted.ravel(), common.data[at], 0) if len(held) else 0.0
    return np.broadcast_to(counts, (wanted.size,)).reshape(wanted.shape).astype(np.float64)


def _largest(ids: np.ndarray, weights: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and weights `(n, k)` of the largest positive weights, -1 and 0 where there are fewer."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :k]
    best, score = np.take_along_axis(ids, order, 1), np.take_along_axis(weights, order, 1)
    best, score = np.where(score > 0, best, -1), np.maximum(score, 0)
    short = ((0, 0), (0, k - best.shape[1]))
    return np.pad(best, short, constant_values=-1), np.pad(score, short)


def _common_users(by_item: sp.csr_array, ids: np.ndarray) -> np.ndarray:
    """Users that each item shares with the items in its row of ids `(n_items, k)`; 0 for -1."""
    item, rank = np.nonzero(ids >= 0)
    found = count_candidates(by_item, pair_numbers(by_item), np.arange(len(ids)), ids, LOOKED_UP)
    counts = np.zeros(ids.shape, dtype=np.int64)
    counts[item, rank] = found[item, ids[item, rank]]
    return counts


def _mean_cosine(by_item: sp.csr_array, scale: np.ndarray) -> float:
    """Mean of `c_ij / sqrt(d_i d_j)` over all pairs of different items, from sums by user."""
    n_items = len(scale)
    weighted = sp.diags_array(scale) @ by_item
    by_user, squares = weighted.sum(axis=0), weighted.multiply(weighted).sum(axis=0)
    return float((by_user**2 - squares).sum() / max(1, n_items * (n_items - 1)))
