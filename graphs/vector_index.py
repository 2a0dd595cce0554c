"""The FAISS index that fits a table of vectors: flat, inverted lists, or HNSW."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from ..tensors.faiss_import import import_faiss, n_gpus

Search = Literal["auto", "exact", "ivf", "hnsw"]
SEARCHES = ("auto", "exact", "ivf", "hnsw")
EXACT_LIMIT = 2e13
"""`auto` searches exactly up to this many multiplications, a few minutes on two cores."""
GPU_SPEEDUP = 100
"""One GPU multiplies that many times as fast."""
GPU_MAX_K = 2048
"""FAISS finds no more neighbours than this on a GPU."""
APPROXIMATE_FROM = 1000
"""Fewer rows are searched exactly whatever is asked for: there is nothing to gain."""
MIN_PROBES = 32
PROBED_SHARE = 1 / 32
"""Inverted lists looked at for each query, of all lists, but at least 32. Clusters without a list
of their own are scattered: a fixed 32 of 4000 found 89 % among a million clustered vectors."""
REFINED = 4
"""Candidates by compressed vectors for each neighbour wanted, compared exactly afterwards."""
POINTS_PER_LIST = 64
"""Rows for each list on which k-means is trained; more take longer and find no more."""


def choose_search(n: int, dim: int, gpus: int = 0) -> Literal["exact", "ivf"]:
    """`exact` where comparing all `n` rows of `dim` numbers takes minutes at most, else `ivf`.

    HNSW is never chosen: with every row a query, building its graph takes longer than all of
    the search in inverted lists, at equal recall (50,000 rows of 128: 16 s against 3 s).
    """
    limit = EXACT_LIMIT * max(1, GPU_SPEEDUP * gpus)
    return "exact" if float(n) ** 2 * dim <= limit else "ivf"


class VectorIndex:
    """Finds the rows of largest inner product.

    `ivf` compares 4-bit codes, kept in registers, in the inverted lists nearest to the query
    and then the best of them exactly; `hnsw` walks a graph; `exact` compares all, on GPUs where
    FAISS has some. The two others run on the processor.

    Args:
        rows: `(n, dim)` float32, contiguous; kept, not copied, by an exact search without GPU.
        search: how; `auto` is `choose_search`.

    Attributes:
        search_kind: `exact`, `ivf` or `hnsw`, what is done in fact.
    """

    def __init__(self, rows: np.ndarray, search: Search = "auto") -> None:
        self.faiss = import_faiss()
        self.rows = rows
        kind = choose_search(len(rows), rows.shape[1], n_gpus()) if search == "auto" else search
        self.search_kind = "exact" if len(rows) < APPROXIMATE_FROM else kind
        self.faiss.omp_set_num_threads(torch.get_num_threads())
        build = {"exact": self._flat, "ivf": self._inverted_lists, "hnsw": self._graph}
        self.index = build[self.search_kind]()

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Products and row numbers `(n, k)` of the best `k`, -1 where fewer were found."""
        if self.index is None or (self.search_kind == "exact" and k > GPU_MAX_K):
            metric = self.faiss.METRIC_INNER_PRODUCT
            product, found = self.faiss.knn(queries, self.rows, k, metric=metric)
        else:
            product, found = self.index.search(_even(queries, self.index.d), k)
        return product, found

    def _flat(self) -> Any:
        """All rows on the GPUs there are; None on the processor, where they are read in place."""
        if n_gpus() == 0:
            return None
        flat = self.faiss.IndexFlatIP(self.rows.shape[1])
        flat.add(self.rows)
        return self.faiss.index_cpu_to_all_gpus(flat)

    def _inverted_lists(self) -> Any:
        rows = _even(self.rows, self.rows.shape[1] + self.rows.shape[1] % 2)
        n, dim = rows.shape
        n_lists = max(1, min(int(4 * np.sqrt(n)), n // 39))  # 39: fewer points a list warn
        metric = self.faiss.METRIC_INNER_PRODUCT
        centres = self.faiss.IndexFlatIP(dim)
        lists = self.faiss.IndexIVFPQFastScan(centres, dim, n_lists, dim // 2, 4, metric)
        lists.cp.seed, lists.cp.max_points_per_centroid = 0, POINTS_PER_LIST
        lists.nprobe = max(MIN_PROBES, int(PROBED_SHARE * n_lists))
        index = self.faiss.IndexRefineFlat(lists)
        index.k_factor = REFINED
        index.train(rows)
        index.add(rows)
        self.parts = (centres, lists)  # FAISS holds no references of its own
        return index

    def _graph(self) -> Any:
        metric = self.faiss.METRIC_INNER_PRODUCT
        index = self.faiss.IndexHNSWFlat(self.rows.shape[1], 32, metric)
        index.hnsw.efSearch = 128
        index.add(self.rows)
        return index


def _even(rows: np.ndarray, width: int) -> np.ndarray:
    """Rows with a column of zeros more where `width` says so; products stay the same."""
    if rows.shape[1] == width:
        return rows
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])))
