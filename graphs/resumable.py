"""Long computations over rows: in parts, on several threads, continued after a kill.

A part is a range of rows. Its result is written to a file of its own, whole or not at all, before
the part counts as finished. The files lie in a folder named by a hash of data and options, so
parts of other data are never met.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..datasets.arrays import load_array
from ..errors import DataError, RunError
from ..fileio import atomic_path
from ..progress import Bar

PART_WORK = 2**23
"""Work in a part: at some 20 ns each, what a kill loses is a fraction of a second a thread."""


@dataclass(frozen=True)
class Work:
    """How a search for neighbours is carried out; nothing in it changes what is found.

    Attributes:
        memory_mib: bound on the working memory of all threads, beside the interactions and the
            result.
        workers: threads; None is as many as torch uses.
        parts: folder that keeps finished parts: the same call after a kill goes on from there.
            Parts of other data or options are not used. Delete it when the result is safe.
        progress: show a progress bar.
    """

    memory_mib: int = 512
    workers: int | None = None
    parts: str | os.PathLike[str] | None = None
    progress: bool = False

    @property
    def n_threads(self) -> int:
        """The number of threads."""
        return torch.get_num_threads() if self.workers is None else self.workers


Lists = tuple[np.ndarray, np.ndarray]
"""Ids and counts, `(n, k)` int64 each."""


class PartStore:
    """Results of finished parts on disk.

    Args:
        folder: where the results of all computations lie, or None to keep none.
        key: `content_key` of this computation.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, key: str) -> None:
        self.folder = None if folder is None else Path(folder) / key

    def load(self, start: int, stop: int, k: int) -> Lists | None:
        """The lists of rows `start .. stop - 1`, or None if they are not finished.

        Raises:
            RunError: the file is damaged.
        """
        if self.folder is None or not (path := self._path(start, stop)).exists():
            return None
        try:
            both = load_array(path)
        except DataError as error:
            raise RunError(f"{path} is damaged: delete it and run again") from error
        if both.shape != (2, stop - start, k) or both.dtype != np.int64:
            raise RunError(
                f"{path} has {both.dtype} of shape {both.shape}: delete it and run again"
            )
        return both[0], both[1]

    def save(self, start: int, stop: int, lists: Lists) -> None:
        """Write the lists of rows `start .. stop - 1`, atomically."""
        if self.folder is not None:
            with atomic_path(self._path(start, stop)) as temporary:
                np.save(temporary, np.stack(lists))

    def _path(self, start: int, stop: int) -> Path:
        assert self.folder is not None
        return self.folder / f"rows-{start}-{stop}.npy"


def remove_parts(folder: str | os.PathLike[str]) -> None:
    """Delete a folder of finished parts, once their result is safe elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)


def content_key(*values: object) -> str:
    """Hex digest of arrays and printable values."""
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        if isinstance(value, np.ndarray):
            digest.update(f"|{value.dtype.str} {value.shape}|".encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).data)
        else:
            digest.update(f"|{value!r}|".encode())
    return digest.hexdigest()


def split_rows(work: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Ranges of consecutive rows of about `limit` work each; one row may be more.

    Args:
        work: `(n,)` work of each row.
        limit: work of a range.
    """
    edges = np.flatnonzero(np.diff(np.cumsum(work) // max(1, limit))) + 1
    ends = [0, *edges.tolist(), len(work)]
    return [(a, b) for a, b in itertools.pairwise(ends) if a < b]


def compute_in_parts(
    compute: Callable[[int, int], Lists],
    work: np.ndarray,
    k: int,
    *,
    key: str,
    title: str,
    how: Work,
) -> Lists:
    """Lists of all rows, from finished parts or by `compute(start, stop)` on threads.

    Args:
        compute: gives the lists of rows `start .. stop - 1`; NumPy and SciPy let other threads
            run meanwhile, and nothing needs to be copied to a process.
        work: `(n,)` int64 work of each row, the unit of the progress bar.
        k: entries per row.
        key: `content_key` of this computation.
        title: of the progress bar, whose estimate leaves out parts finished earlier.
        how: threads, where finished parts lie, and whether to show the bar.
    """
    store = PartStore(how.parts, key)
    ids = np.full((len(work), k), -1, dtype=np.int64)
    counts = np.zeros((len(work), k), dtype=np.int64)
    missing = []
    for start, stop in split_rows(work, PART_WORK):
        ready = store.load(start, stop, k)
        if ready is None:
            missing.append((start, stop))
        else:
            ids[start:stop], counts[start:stop] = ready

    def finish(start: int, stop: int) -> int:
        lists = compute(start, stop)
        store.save(start, stop, lists)
        ids[start:stop], counts[start:stop] = lists
        return int(work[start:stop].sum())

    total = int(work.sum())
    left = sum(int(work[start:stop].sum()) for start, stop in missing)
    with Bar(
        total=total,
        initial=total - left,
        desc=title,
        unit="pair",
        unit_scale=True,
        disable=not how.progress,
    ) as bar:
        pool = ThreadPoolExecutor(how.n_threads)
        try:
            for done in as_completed([pool.submit(finish, *part) for part in missing]):
                bar.update(done.result())
        finally:
            pool.shutdown(cancel_futures=True)
    return ids, counts
