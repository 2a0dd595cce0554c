"""The metrics of every single user, in a file, so that methods can be compared user by user."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..datasets.arrays import load_arrays
from ..errors import DataError, RunError
from ..fileio import atomic_path
from .metrics import Metrics, average
from .ranking import Evaluator

if TYPE_CHECKING:
    from ..datasets.dataset import Dataset
    from ..tensors.representations import Representations
    from .scores import BlockScorer

KEPT = ("recall", "ndcg")
"""Metrics that are kept for every user."""


@dataclass(frozen=True)
class UserMetrics:
    """Metrics of single users.

    Attributes:
        users: `(n,)` int64 user ids, ascending.
        values: metric name such as `recall@20` -> `(n,)`.
    """

    users: np.ndarray
    values: Mapping[str, np.ndarray]


def evaluate_users(
    scores: Representations | BlockScorer, dataset: Dataset, split: str, ks: Sequence[int]
) -> tuple[Metrics, UserMetrics]:
    """Average metrics of one split, and the `KEPT` ones of every user; ranked as by `Evaluator`."""
    evaluator = Evaluator(dataset, split, ks)
    values = evaluator.per_user(scores)
    averages = average(values, evaluator.ks)
    by_id = torch.argsort(evaluator.users)
    kept = {
        f"{name}@{k}": values[name][by_id, column].numpy()
        for name in KEPT
        for column, k in enumerate(evaluator.ks)
    }
    metrics = Metrics(averages, len(by_id), evaluator.dropped_rows)
    return metrics, UserMetrics(evaluator.users[by_id].numpy(), kept)


def save_user_metrics(path: str | os.PathLike[str], metrics: UserMetrics) -> None:
    """Write `metrics` to a compressed npz file, atomically; values in single precision."""
    arrays: dict[str, Any] = {n: v.astype(np.float32) for n, v in metrics.values.items()}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, users=metrics.users, **arrays)


def load_user_metrics(path: str | os.PathLike[str]) -> UserMetrics:
    """Read what `save_user_metrics` wrote; values come back in double precision.

    Raises:
        RunError: the file is not there or damaged.
    """
    try:
        arrays = load_arrays(Path(path))
        users = arrays.pop("users")
        values = {name: array.astype(np.float64) for name, array in arrays.items()}
    except (DataError, KeyError, ValueError) as error:
        raise RunError(f"{path} is missing or damaged: train the run anew") from error
    if users.ndim != 1 or any(array.shape != users.shape for array in values.values()):
        raise RunError(f"{path} is damaged (its columns differ in length): train the run anew")
    return UserMetrics(users, values)
