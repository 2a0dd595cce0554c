"""The FAISS index of an export: items of the largest inner products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..fileio import atomic_path
from ..tensors.faiss_import import import_faiss

SAMPLED_USERS = 1000
TIE = 1e-5
"""Relative difference of scores that count as equal, since sums differ by their order."""


def write_index(file: Path, user: Tensor, item: Tensor, *, exact: bool) -> dict[str, Any]:
    """Write an index of the items' vectors.

    Args:
        file: replaced as a whole.
        user: `(n_users, dim)`; an approximate index is tried on some of them.
        item: `(n_items, dim)`.
        exact: whether a query is compared with every item.

    Returns:
        What `about.json` says of it.
    """
    faiss = import_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    rows, dim = item.numpy(), item.shape[1]
    index = faiss.IndexFlatIP(dim)
    recall = 1.0
    if not exact:
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = 256
    index.add(rows)
    if not exact:
        rng = torch.Generator().manual_seed(0)
        queries = user[torch.randperm(len(user), generator=rng)[:SAMPLED_USERS]].numpy()
        wanted, _ = faiss.knn(queries, rows, 20, metric=faiss.METRIC_INNER_PRODUCT)
        _, found = index.search(queries, 20)
        recall = float(_hits(queries, rows, found, wanted).mean())
    with atomic_path(file) as path:
        path.write_bytes(faiss.serialize_index(index).tobytes())
    return {"kind": "flat" if exact else "hnsw", "metric": "inner product", "recall@20": recall}


def _hits(queries: np.ndarray, rows: np.ndarray, found: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Which rows found score no less than the last of the best, `(n, 20)`: ties are hits."""
    score = np.einsum("qd,qkd->qk", queries, rows[np.maximum(found, 0)])
    slack = TIE * np.abs(best[:, -1:]).clip(min=TIE)
    return (found >= 0) & (score >= best[:, -1:] - slack)
