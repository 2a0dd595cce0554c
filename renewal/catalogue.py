"""What a run leaves for the one that follows it: who is who, who has what, and some lists."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..datasets import SPLITS, Dataset
from ..errors import RunError
from ..evaluation import recommend
from ..evaluation.scores import BlockScorer
from ..fileio import atomic_path
from ..run_files import CATALOGUE_FILE
from ..tensors.representations import Representations

K = 20
"""Length of the lists that are compared."""
MOST_LISTS = 2000
"""Users whose lists are kept; of more as many are drawn."""
DAMAGED = (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Catalogue:
    """The rows of a run by the ids of its data files, as text.

    Attributes:
        user_ids: `(n_users,)` id of every row.
        item_ids: `(n_items,)` id of every row.
        rows: `(2, n)` int32 pairs of user and item of all splits.
        trained: `(n,)` bool, which of them are training rows.
        listed: `(m,)` int64, some users; none where no lists are known.
        lists: `(m, 20)` int64, the items first in their lists, without what they have in any split;
            -1 where there are fewer.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    rows: np.ndarray
    trained: np.ndarray
    listed: np.ndarray
    lists: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, scores: Representations | BlockScorer | None = None) -> Catalogue:
        """That of a data set, with lists by `scores` if they are given."""
        rows = all_rows(dataset)
        trained = np.arange(rows.shape[1]) < dataset.train.shape[1]
        listed, lists = torch.empty(0, dtype=torch.int64), torch.empty(0, K, dtype=torch.int64)
        if scores is not None:
            draw = torch.randperm(dataset.n_users, generator=torch.Generator().manual_seed(0))
            listed = draw[:MOST_LISTS].sort().values
            lists, _ = recommend(scores, listed, K, rows)
        return cls(
            _text(dataset.user_ids, dataset.n_users),
            _text(dataset.item_ids, dataset.n_items),
            rows.numpy().astype(np.int32),
            trained,
            listed.numpy(),
            lists.numpy(),
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write it into a run folder."""
        arrays: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        with atomic_path(Path(folder) / CATALOGUE_FILE) as path:
            np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Catalogue:
        """Read it from a run folder.

        Raises:
            RunError: it is damaged.
        """
        file = Path(folder) / CATALOGUE_FILE
        try:
            with np.load(file, allow_pickle=False) as arrays:
                found = cls(**{field.name: arrays[field.name] for field in fields(cls)})
            _check(found)
        except DAMAGED as error:
            raise RunError(f"{file} is damaged ({error}): put back a copy of it") from error
        return found


def remember(folder: Path, dataset: Dataset, scores: Representations | BlockScorer) -> None:
    """Leave in a run folder what the next run needs to know of this one."""
    Catalogue.of(dataset, scores).save(folder)


def all_rows(dataset: Dataset) -> Tensor:
    """The pairs of all splits, `(2, n)` int64, training first."""
    return torch.cat([dataset.split(name) for name in SPLITS], dim=1)


def moved_share(
    before: Catalogue, dataset: Dataset, scores: Representations | BlockScorer
) -> tuple[float | None, int]:
    """How lists of users about whom nothing new is known moved: items that left them, on average.

    Args:
        before: of the earlier run.
        dataset: the new data.
        scores: of the new run.

    Returns:
        Mean share of the earlier list, up to 20 items long, that is not in the new one of the same
        length; and the number of users who have the same items in both. None of no such user.
    """
    now = Catalogue.of(dataset)
    users = pd.Index(now.user_ids).get_indexer(pd.Index(before.user_ids[before.listed]))
    items = pd.Index(now.item_ids).get_indexer(pd.Index(before.item_ids))
    had = _Histories(before.rows, len(before.user_ids))
    has = _Histories(now.rows, len(now.user_ids))
    same = [
        place
        for place, (old, new) in enumerate(zip(before.listed, users, strict=True))
        if new >= 0 and np.array_equal(np.sort(items[had(old)]), np.sort(has(new)))
    ]
    lists, _ = recommend(scores, torch.from_numpy(users[same]), K, all_rows(dataset))
    shares = []
    for earlier, later in zip(before.lists[same], lists.numpy(), strict=True):
        kept = earlier[earlier >= 0]
        if len(kept):
            shares.append(1 - len(np.intersect1d(items[kept], later[later >= 0])) / len(kept))
    return (float(np.mean(shares)) if shares else None), len(shares)


class _Histories:
    """`(n,)` items of a user, by row."""

    def __init__(self, rows: np.ndarray, n_users: int) -> None:
        order = np.argsort(rows[0], kind="stable")
        self.items = rows[1][order]
        self.starts = np.zeros(n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows[0], minlength=n_users), out=self.starts[1:])

    def __call__(self, user: int) -> np.ndarray:
        return self.items[self.starts[user] : self.starts[user + 1]]


def _text(ids: np.ndarray | None, n: int) -> np.ndarray:
    return (np.arange(n) if ids is None else np.asarray(ids)).astype(np.str_)


def _check(found: Catalogue) -> None:
    """Raise `ValueError` unless the parts fit together."""
    for ids in (found.user_ids, found.item_ids):
        if ids.ndim != 1 or len(np.unique(ids)) < len(ids):
            raise ValueError("an id stands twice")
    sizes = len(found.user_ids), len(found.item_ids)
    n, m = len(found.trained), len(found.listed)
    if found.rows.shape != (2, n) or found.lists.shape != (m, K):
        raise ValueError("its parts are of different lengths")
    for numbers, size in zip((*found.rows, found.listed), (*sizes, sizes[0]), strict=True):
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < size:
            raise ValueError("a row is out of range")
    if m and not -1 <= found.lists.min() <= found.lists.max() < sizes[1]:
        raise ValueError("a list is out of range")
