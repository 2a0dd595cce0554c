"""Neighbour lists and their file.

A neighbour file is a NumPy `.npz` archive without pickled objects, so any program can read it::

    with np.load("neighbors.npz") as file:
        ids = file["ids"]            # (n_items, k) int64, best first, -1 where there are fewer
        counts = file["counts"]      # (n_items, k) int64, common users, 0 where there are fewer
        about = json.loads(str(file["metadata"]))   # data hash, options, ...
        file["format"]               # "crossalign-neighbors-1"
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..fileio import atomic_path

FORMAT = "crossalign-neighbors-1"
REMAKE = "make it again with: crossalign neighbors"


@dataclass(frozen=True)
class Neighbors:
    """The `k` items with the most similar user feedback to each item, best first.

    Attributes:
        ids: `(n_items, k)` int64 item ids, -1 where an item has fewer neighbours.
        counts: `(n_items, k)` int64 number of common users, 0 where there is no neighbour.
        metadata: where they come from: data hash, options.
    """

    ids: Tensor
    counts: Tensor
    metadata: Mapping[str, Any] = field(default_factory=dict)


def save_neighbors(
    path: str | os.PathLike[str],
    neighbors: Neighbors,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a neighbour file, atomically; see the module for its layout.

    Args:
        path: the file; `.npz` is customary.
        neighbors: what to write.
        metadata: anything JSON can hold, in place of `neighbors.metadata`. Put the data set's
            hash under `data_hash`, so that `load_neighbors` can compare it.

    Raises:
        RunError: the file cannot be written.
    """
    about = json.dumps(dict(neighbors.metadata if metadata is None else metadata))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            metadata=np.array(about),
            ids=neighbors.ids.cpu().numpy(),
            counts=neighbors.counts.cpu().numpy(),
        )


def load_neighbors(
    path: str | os.PathLike[str], *, n_items: int | None = None, data_hash: str | None = None
) -> Neighbors:
    """Read and check a neighbour file.

    Args:
        path: file of `save_neighbors`.
        n_items: number of items that the lists must cover, if known.
        data_hash: `dataset_hash` of the data set that they must come from, if it matters.

    Raises:
        DataError: the file is missing, damaged, no neighbour file, or of another data set.
    """
    ids, counts, metadata = _read(Path(path))
    if ids.ndim != 2 or ids.shape != counts.shape or {ids.dtype, counts.dtype} != {np.dtype("i8")}:
        raise DataError(f"{path}: ids and counts must be int64 of one (n_items, k) shape; {REMAKE}")
    if n_items is not None and len(ids) != n_items:
        raise DataError(f"{path}: made for {len(ids)} items, the data set has {n_items}; {REMAKE}")
    wrong = np.argwhere((ids < -1) | (ids >= len(ids)))
    if len(wrong):
        row, place = wrong[0]
        raise DataError(
            f"{path}: item {row} has a neighbour {ids[row, place]} out of range; {REMAKE}"
        )
    itself = np.flatnonzero((ids == np.arange(len(ids))[:, None]).any(axis=1))
    if len(itself):
        raise DataError(f"{path}: item {itself[0]} is its own neighbour; {REMAKE}")
    if data_hash is not None and metadata.get("data_hash") != data_hash:
        raise DataError(f"{path}: made from other data than this data set; {REMAKE}")
    return Neighbors(torch.from_numpy(ids), torch.from_numpy(counts), metadata)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Ids, counts and metadata of a neighbour file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if str(archive["format"]) != FORMAT:
                raise DataError(f"{path}: format {archive['format']} is not {FORMAT}; {REMAKE}")
            metadata = json.loads(str(archive["metadata"]))
            return archive["ids"], archive["counts"], dict(metadata)
    except FileNotFoundError as error:
        raise DataError(f"neighbour file {path} does not exist; {REMAKE}") from error
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(f"{path} is damaged or no neighbour file ({error}); {REMAKE}") from error
