"""Nearest items by content: cosine over features, by FAISS."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, unknown_name
from .faiss_import import import_faiss

Search = Literal["auto", "exact", "ivf", "hnsw"]
SEARCHES = ("auto", "exact", "ivf", "hnsw")
EXACT_LIMIT = 2e13
"""`auto` searches exactly up to this many multiplications, a few minutes on two cores."""
BYTES_PER_CANDIDATE = 48
"""Working memory of one candidate of one query: value, id, their sorted copies."""
SLACK = 16
"""Candidates beyond k, so that ties at the end of a list are broken by item id."""
GOOD_RECALL = 0.95
"""Below this, the recall of an approximate search is logged as a warning."""
RECALL_SAMPLE = 1000
"""Items on which the recall of an approximate search is measured."""

logger = logging.getLogger(__name__)


def feature_knn(
    features: Tensor,
    k: int,
    *,
    include_self: bool = True,
    missing: Tensor | None = None,
    search: Search = "auto",
    memory_mib: int = 512,
) -> tuple[Tensor, Tensor]:
    """The `k` items with the most similar features, by cosine, best first.

    Equal cosines are ordered by item id. The recall of an approximate search, measured on a
    sample of items against the exact search, is logged.

    Args:
        features: `(n_items, d)`, any floating type; searched in float32.
        k: neighbours per item.
        include_self: whether an item may be its own neighbour. With more than k identical items
            it can still be crowded out by those with smaller ids.
        missing: `(n_items,)` bool, True for rows that have no features: they get no neighbours
            and are nobody's neighbour.
        search: `exact`, approximate `ivf` or `hnsw`, or `auto`: exact as long as
            that takes minutes (up to 70,000 items of 4096 features, or 220,000 of 384).
        memory_mib: bound on the working memory of one chunk of queries.

    Returns:
        `(n_items, k)` int64 ids, -1 where there are fewer, and `(n_items, k)` float32 cosines,
        0 where there are fewer.

    Raises:
        ConfigError: an option is out of range.
    """
    if search not in SEARCHES:
        raise unknown_name("knn_search", search, SEARCHES)
    if k < 1 or memory_mib < 1:
        raise ConfigError("k and memory_mib of a feature kNN must be at least 1")
    ids = torch.full((len(features), k), -1, dtype=torch.int64)
    cosine = torch.zeros(len(features), k)
    present = (
        torch.arange(len(features)) if missing is None else torch.nonzero(~missing.cpu())[:, 0]
    )
    if len(present) == 0:
        return ids, cosine
    rows = torch.nn.functional.normalize(features.detach().cpu()[present].float()).numpy()
    if search == "auto":
        search = "exact" if len(rows) ** 2 * rows.shape[1] <= EXACT_LIMIT else "ivf"
    index = _build_index(rows, search)
    queries = np.arange(len(rows))
    found, value = _search(index, rows, queries, k, include_self, memory_mib)
    if search != "exact":
        _log_recall(rows, found, k, include_self, memory_mib, search)
    real = found >= 0
    found = np.where(real, present.numpy()[found], -1)
    ids[present, : found.shape[1]] = torch.from_numpy(found)
    cosine[present, : found.shape[1]] = torch.from_numpy(
        np.where(real, value, 0).astype(np.float32)
    )
    return ids, cosine


def _build_index(rows: np.ndarray, search: Search) -> Any:
    """A FAISS index over unit rows, inner product."""
    faiss = import_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    n, dim = rows.shape
    if search == "ivf":
        n_lists = max(1, min(int(4 * np.sqrt(n)), n // 39))  # 39: fewer points a list warn
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, n_lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = 0
        index.train(rows)
        index.nprobe = max(8, n_lists // 16)
    elif search == "hnsw":
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = 128
    else:
        index = faiss.IndexFlatIP(dim)
    index.add(rows)
    return index


def _search(
    index: Any, rows: np.ndarray, queries: np.ndarray, k: int, include_self: bool, memory_mib: int
) -> tuple[np.ndarray, np.ndarray]:
    """Best `k` of each query row in chunks: positions (-1 where fewer) and cosines."""
    wanted = min(k + SLACK + (not include_self), len(rows))
    tile = min(len(rows), 4096)  # FAISS multiplies with so many items at a time
    per_query = BYTES_PER_CANDIDATE * wanted + 4 * (rows.shape[1] + tile)
    chunk = max(1, memory_mib * 2**20 // per_query)
    ids, values = [], []
    for start in range(0, len(queries), chunk):
        mine = queries[start : start + chunk]
        value, position = index.search(rows[mine], wanted)
        if not include_self:
            itself = position == mine[:, None]
            position, value = np.where(itself, -1, position), np.where(itself, -np.inf, value)
        value = np.where(position < 0, -np.inf, value)
        order = np.lexsort((position, -value))[:, :k]
        ids.append(np.take_along_axis(position, order, 1))
        values.append(np.take_along_axis(value, order, 1))
    return np.concatenate(ids), np.concatenate(values)


def _log_recall(
    rows: np.ndarray,
    found: np.ndarray,
    k: int,
    include_self: bool,
    memory_mib: int,
    search: Search,
) -> None:
    """Compare a sample of an approximate result with the exact search, and log the recall."""
    sample = np.linspace(0, len(rows) - 1, min(RECALL_SAMPLE, len(rows))).astype(np.int64)
    exact, _ = _search(_build_index(rows, "exact"), rows, sample, k, include_self, memory_mib)
    hits = sum(
        len(np.intersect1d(a[a >= 0], b[b >= 0])) for a, b in zip(found[sample], exact, strict=True)
    )
    recall = hits / max(1, int((exact >= 0).sum()))
    level = logging.INFO if recall >= GOOD_RECALL else logging.WARNING
    logger.log(level, "kNN '%s': recall@%d is %.3f on %d items", search, k, recall, len(sample))
