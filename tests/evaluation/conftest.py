"""A loop-written reference for everything that evaluation computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from golden_vectors import folder_of

from crossalign.datasets.dataset import Dataset


def reference_metrics(ranked: list[int], relevant: set[int], k: int) -> dict[str, float]:
    """Metrics of one user at one cut-off, straight from their definitions."""
    hits = [item in relevant for item in ranked[:k]]
    possible = min(k, len(relevant))
    dcg = sum(1 / math.log2(place + 1) for place, hit in enumerate(hits, start=1) if hit)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, possible + 1))
    precisions = [sum(hits[:place]) / place for place, hit in enumerate(hits, start=1) if hit]
    return {
        "recall": sum(hits) / len(relevant),
        "ndcg": dcg / ideal,
        "precision": sum(hits) / k,
        "map": sum(precisions) / possible,
        "hit": float(any(hits)),
        "mrr": 1 / (hits.index(True) + 1) if any(hits) else 0.0,
    }


def reference_ranking(scores: list[float], left_out: set[int]) -> list[int]:
    """Item ids, best first, equal scores by the lower id; without those left out."""
    items = [item for item in range(len(scores)) if item not in left_out]
    return sorted(items, key=lambda item: (-scores[item], item))


def dataset_of(n_users, n_items, train, valid, test=None) -> Dataset:
    """A data set of lists of pairs."""
    splits = (torch.tensor(pairs, dtype=torch.int64).T for pairs in (train, valid, test or valid))
    return Dataset("made up", n_users, n_items, *(split.contiguous() for split in splits))


def from_scores(scores: torch.Tensor):
    """Representations whose inner products are exactly `scores`."""
    return scores, torch.eye(scores.shape[1], dtype=scores.dtype)


@pytest.fixture(scope="session")
def reference():
    return reference_metrics


@pytest.fixture(scope="session")
def ranking():
    return reference_ranking


@pytest.fixture(scope="session")
def make_dataset():
    return dataset_of


@pytest.fixture(scope="session")
def as_representations():
    return from_scores


@pytest.fixture(scope="session")
def golden(pytestconfig):
    """Metrics that MMRec computes, with per-user values and an end-to-end case."""
    path = folder_of(pytestconfig) / "backbones" / "metrics.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    with np.load(path) as file:
        return dict(file)
