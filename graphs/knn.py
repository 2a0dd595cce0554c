"""Nearest items by content: cosine over features, by FAISS."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, unknown_name
from .vector_index import SEARCHES, Search, VectorIndex

__all__ = ["FeatureNeighbors", "Search", "feature_knn", "feature_neighbors", "unified_features"]

BYTES_PER_CANDIDATE = 48
"""Working memory of one candidate of one query: value, id, their sorted copies."""
SLACK = 16
"""Candidates beyond k, so that ties at the end of a list are broken by item id."""
TIE = 1e-5
"""Cosines closer than this are equal, since sums differ by their order."""
GOOD_RECALL = 0.95
"""Below this, the recall of an approximate search is logged as a warning."""
RECALL_SAMPLE = 1000
"""Items on which the recall of an approximate search is measured."""

logger = logging.getLogger(__name__)


class FeatureNeighbors(NamedTuple):
    """Nearest items by content.

    Attributes:
        ids: `(n_items, k)` int64, best first, -1 where there are fewer.
        cosine: `(n_items, k)` float32, 0 where there are fewer.
        search: `exact`, `ivf` or `hnsw`, what was done.
        recall: share of the true neighbours of a sample of items that were found; 1.0 if exact.
    """

    ids: Tensor
    cosine: Tensor
    search: str
    recall: float


def feature_knn(
    features: Tensor,
    k: int,
    *,
    include_self: bool = True,
    missing: Tensor | None = None,
    search: Search = "auto",
    memory_mib: int = 512,
) -> tuple[Tensor, Tensor]:
    """Ids and cosines of `feature_neighbors`, with the same arguments."""
    found = feature_neighbors(
        features,
        k,
        include_self=include_self,
        missing=missing,
        search=search,
        memory_mib=memory_mib,
    )
    return found.ids, found.cosine


def feature_neighbors(
    features: Tensor,
    k: int,
    *,
    include_self: bool = True,
    missing: Tensor | None = None,
    search: Search = "auto",
    memory_mib: int = 512,
) -> FeatureNeighbors:
    """The `k` items with the most similar features, by cosine, best first.

    Equal cosines are ordered by item id. The recall of an approximate search, measured on a
    sample of items against the exact search, is logged and returned.

    Args:
        features: `(n_items, d)`, any floating type; searched in float32.
        k: neighbours per item.
        include_self: whether an item may be its own neighbour. With more than k identical items
            it can still be crowded out by those with smaller ids.
        missing: `(n_items,)` bool, True for rows that have no features: they get no neighbours
            and are nobody's neighbour. So do rows of zeros, which have no direction.
        search: `exact`, approximate `ivf` or `hnsw`, or `auto`: exact as long as
            that takes minutes (up to 70,000 items of 4096 features, or 220,000 of 384).
        memory_mib: bound on the working memory of one chunk of queries. The unit rows come to
            that, and for an approximate search their copy in the index.

    Raises:
        ConfigError: an option is out of range.
    """
    if search not in SEARCHES:
        raise unknown_name("knn_search", search, SEARCHES)
    if k < 1 or memory_mib < 1:
        raise ConfigError("k and memory_mib of a feature kNN must be at least 1")
    ids = torch.full((len(features), k), -1, dtype=torch.int64)
    cosine = torch.zeros(len(features), k, dtype=torch.float32)
    table = features.detach().cpu()
    there = table.any(1) if missing is None else table.any(1) & ~missing.cpu()
    if not there.any():
        return FeatureNeighbors(ids, cosine, "exact", 1.0)
    if not there.all():
        table = table[there]
    present = np.flatnonzero(there)
    rows = torch.nn.functional.normalize(table.float()).numpy()
    index = VectorIndex(rows, search)
    found, value = _search(index, np.arange(len(rows)), k, include_self, memory_mib)
    recall = 1.0
    if index.search_kind != "exact":
        recall = _recall(index, found, k, include_self, memory_mib)
    width = found.shape[1]
    ids[present, :width] = torch.from_numpy(np.where(found >= 0, present[found], -1))
    cosine[present, :width] = torch.from_numpy(np.where(found >= 0, value, 0).astype(np.float32))
    return FeatureNeighbors(ids, cosine, index.search_kind, recall)


def unified_features(features: Mapping[str, Tensor]) -> Tensor:
    """The only table as it is, or the unit rows of several side by side, `(n_items, sum d_m)`."""
    tables = tuple(features.values())
    if len(tables) == 1:
        return tables[0]
    return torch.cat([torch.nn.functional.normalize(table) for table in tables], dim=1)


def _search(
    index: VectorIndex, queries: np.ndarray, k: int, include_self: bool, memory_mib: int
) -> tuple[np.ndarray, np.ndarray]:
    """Best `k` of each query row in chunks: positions (-1 where fewer) and cosines."""
    rows = index.rows
    wanted = min(k + SLACK + (not include_self), len(rows))
    tile = min(len(rows), 4096)  # FAISS multiplies with so many items at a time
    per_query = BYTES_PER_CANDIDATE * wanted + 4 * (rows.shape[1] + tile)
    chunk = max(1, memory_mib * 2**20 // per_query)
    ids = np.empty((len(queries), min(k, wanted)), dtype=np.int64)
    values = np.empty(ids.shape, dtype=np.float32)
    for start in range(0, len(queries), chunk):
        mine = queries[start : start + chunk]
        value, position = index.search(rows[mine], wanted)
        if not include_self:
            position = np.where(position == mine[:, None], -1, position)
        value = np.where(position < 0, -np.inf, value)
        order = np.lexsort((position, -value))[:, :k]
        ids[start : start + chunk] = np.take_along_axis(position, order, 1)
        values[start : start + chunk] = np.take_along_axis(value, order, 1)
    return ids, values


def _recall(
    index: VectorIndex, found: np.ndarray, k: int, include_self: bool, memory_mib: int
) -> float:
    """Compare a sample of an approximate result with the exact search, and log the recall."""
    n = len(index.rows)
    sample = np.linspace(0, n - 1, min(RECALL_SAMPLE, n)).astype(np.int64)
    truth = VectorIndex(index.rows, "exact")
    exact, value = _search(truth, sample, k, include_self, memory_mib)
    # An item as near as the last of the best is as good as that one: ties are hits.
    last = np.where(np.isfinite(value), value, np.inf).min(axis=1) - TIE
    mine = index.rows[np.maximum(found[sample], 0)]
    near = np.einsum("qd,qkd->qk", index.rows[sample], mine) >= last[:, None]
    hits = int((near & (found[sample] >= 0)).sum())
    recall = min(1.0, hits / max(1, int((exact >= 0).sum())))
    level = logging.INFO if recall >= GOOD_RECALL else logging.WARNING
    kind = index.search_kind
    logger.log(level, "kNN '%s': recall@%d is %.3f on %d items", kind, k, recall, len(sample))
    return recall
