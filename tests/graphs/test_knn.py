"""Feature neighbours against brute force."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import torch

from crossalign.errors import ConfigError, CrossalignError
from crossalign.graphs import feature_knn, feature_neighbors
from crossalign.graphs.knn import _recall
from crossalign.graphs.vector_index import VectorIndex


def brute_force(features, k, include_self, missing=None):
    """Item by item; equal cosines by id (stable sort)."""
    unit = torch.nn.functional.normalize(features.double())
    n = len(features)
    lists = []
    for i in range(n):
        others = [
            j
            for j in range(n)
            if (include_self or j != i)
            and (missing is None or not missing[j])
            and (missing is None or not missing[i])
        ]
        others.sort(key=lambda j: (-round(float(unit[i] @ unit[j]), 5), j))
        lists.append((others + [-1] * k)[:k])
    return torch.tensor(lists)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("memory_mib", [1, 512])
def test_exact_equals_brute_force(include_self, memory_mib):
    features = torch.randn(90, 8, generator=torch.Generator().manual_seed(0))
    ids, cosine = feature_knn(features, 7, include_self=include_self, memory_mib=memory_mib)
    assert torch.equal(ids, brute_force(features, 7, include_self))
    unit = torch.nn.functional.normalize(features)
    expected = (unit[:, None] * unit[ids]).sum(2)
    torch.testing.assert_close(cosine, expected, rtol=1e-5, atol=1e-5)


def test_chunks_do_not_change_the_result(monkeypatch):
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    whole, _ = feature_knn(features, 5)
    monkeypatch.setattr("crossalign.graphs.knn.BYTES_PER_CANDIDATE", 2**14)  # 3 queries a chunk
    assert torch.equal(feature_knn(features, 5, memory_mib=1)[0], whole)


def test_rows_of_zeros_are_like_missing_ones():
    """They have no direction: every cosine would be 0, and the first items their neighbours."""
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    features[[0, 7]] = 0
    missing = torch.zeros(20, dtype=torch.bool)
    missing[[0, 7]] = True
    assert torch.equal(feature_knn(features, 5)[0], feature_knn(features, 5, missing=missing)[0])
    assert (feature_knn(torch.zeros(3, 2), 2)[0] == -1).all()


def test_missing_rows_have_no_neighbours_and_are_nobodys():
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    missing = torch.zeros(20, dtype=torch.bool)
    missing[[2, 7]] = True
    ids, cosine = feature_knn(features, 5, missing=missing)
    assert torch.equal(ids, brute_force(features, 5, True, missing))
    assert (ids[missing] == -1).all()
    assert (cosine[missing] == 0).all()


def test_fewer_items_than_k_are_padded():
    ids, cosine = feature_knn(torch.eye(3), 5, include_self=False)
    assert (ids[:, 2:] == -1).all()
    assert (cosine[:, 2:] == 0).all()
    assert ids[0, :2].tolist() == [1, 2]
    everything_missing = torch.ones(3, dtype=torch.bool)
    assert (feature_knn(torch.eye(3), 5, missing=everything_missing)[0] == -1).all()


def test_identical_items_are_ordered_by_id():
    ids, _ = feature_knn(torch.ones(6, 3), 3)
    assert ids.tolist() == [[0, 1, 2]] * 6
    ids, _ = feature_knn(torch.ones(6, 3), 2, include_self=False)
    assert ids[:2].tolist() == [[1, 2], [0, 2]]


@pytest.mark.parametrize("search", ["ivf", "hnsw"])
def test_approximate_search_reports_its_recall(search, caplog):
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 16, generator=rng)
    features = centres[torch.arange(2000) % 20] + 0.3 * torch.randn(2000, 16, generator=rng)
    with caplog.at_level(logging.INFO, logger="crossalign.graphs.knn"):
        found = feature_neighbors(features, 10, search=search)
    exact = feature_neighbors(features, 10)
    assert (found.search, exact.search, exact.recall) == (search, "exact", 1.0)
    recall = (found.ids[:, :, None] == exact.ids[:, None]).any(1).double().mean()
    assert recall > 0.9
    assert f"kNN '{search}': recall@10 is" in caplog.text
    reported = float(caplog.text.split("recall@10 is ")[1].split()[0])
    assert abs(reported - recall) < 0.02
    assert abs(found.recall - reported) < 0.001


def test_bad_options_and_missing_faiss(monkeypatch):
    with pytest.raises(ConfigError, match="did you mean 'exact'"):
        feature_knn(torch.eye(3), 2, search="exakt")
    with pytest.raises(ConfigError, match="at least 1"):
        feature_knn(torch.eye(3), 0)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(CrossalignError, match="pip install faiss-cpu"):
        feature_knn(torch.eye(3), 2)


def test_ties_of_the_last_neighbour_count_as_found() -> None:
    """Any of many equal items is as good a neighbour as another one."""
    rows = torch.eye(8).repeat(40, 1).numpy()
    index = VectorIndex(rows, "exact")
    found = np.arange(len(rows))[:, None] + 8 * np.arange(1, 6)
    assert _recall(index, found % len(rows), 5, False, 64) == 1.0
    assert _recall(index, (found + 1) % len(rows), 5, False, 64) == 0.0
