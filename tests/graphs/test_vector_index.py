"""The index fits the size, and every kind finds what a plain product finds."""

from __future__ import annotations

import numpy as np
import pytest

from crossalign.graphs.vector_index import VectorIndex, choose_search
from crossalign.tensors.faiss_import import import_faiss


def clustered(n, dim, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n // 50, dim), dtype=np.float32)
    rows = centres[rng.integers(len(centres), size=n)]
    rows += rng.standard_normal((n, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def recall(index, rows, k=10):
    true = np.argsort(-(rows @ rows.T), axis=1, kind="stable")[:, :k]
    _, found = index.search(rows, k)
    return (found[:, :, None] == true[:, None]).any(1).mean()


@pytest.mark.parametrize("kind", ["exact", "ivf", "hnsw"])
@pytest.mark.parametrize("dim", [16, 33])  # codes need an even width; 33 is padded
def test_every_kind_finds_nearly_all(kind, dim):
    rows = clustered(1500, dim)
    index = VectorIndex(rows, kind)
    assert index.search_kind == kind
    product, found = index.search(rows[:5], 4)
    expected = (rows[:5, None] * rows[found]).sum(2)
    np.testing.assert_allclose(product, expected, atol=1e-5)
    assert recall(index, rows) > (0.999 if kind == "exact" else 0.95)


def test_inverted_lists_are_reproducible():
    rows = clustered(1500, 16)
    first, again = (VectorIndex(rows, "ivf").search(rows, 5)[1] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_size_chooses():
    assert choose_search(200_000, 128) == "exact"
    assert choose_search(1_000_000, 128) == "ivf"
    assert choose_search(1_000_000, 128, gpus=1) == "exact"
    assert VectorIndex(clustered(1500, 16)).search_kind == "exact"


def test_a_few_rows_are_searched_exactly_whatever_is_asked_for():
    rows = clustered(100, 8)
    assert VectorIndex(rows, "ivf").search_kind == "exact"
    assert recall(VectorIndex(rows, "hnsw"), rows) > 0.999


def test_gpus_are_used_where_faiss_has_some(monkeypatch):
    """The GPU itself is played by the processor: what counts is that it is asked."""
    faiss, moved = import_faiss(), []

    def to_gpus(index):
        moved.append(index)
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", to_gpus, raising=False)
    rows = clustered(300, 8)
    index = VectorIndex(rows)
    assert moved == [index.index]
    assert recall(index, rows) > 0.999
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    assert VectorIndex(rows).index is None
