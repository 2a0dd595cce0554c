"""Neighbour lists and their files.

A neighbour file is a NumPy `.npz` archive without pickled objects, so any program can read it::

    with np.load("neighbors.npz") as file:
        ids = file["ids"]            # (n_items, k) int64 rows, best first, -1 where there are fewer
        counts = file["counts"]      # (n_items, k) int64, common users, 0 where there are fewer
        scores = file["scores"]      # (n_items, k) float32, what they are ranked by, 0 likewise
        names = file["item_ids"]     # (n_items,) the ids of the data files, row by row
        about = json.loads(str(file["metadata"]))   # data hash, options, ...
        file["format"]               # "crossalign-neighbors-1"

Row r, in `ids` too, is the item `item_ids[r]`; rows are in the order in which the data set numbers
its items: sorted ids for tables, the numbers themselves where items are numbered. `scores` and
`item_ids` are there where `write_neighbors` or `crossalign neighbors` made the file.

For large catalogues the same arrays lie in a folder, where they can be mapped into memory::

    ids = np.load("neighbors/ids.npy", mmap_mode="r")     # likewise counts, scores, item_ids
    about = json.load(open("neighbors/metadata.json"))    # with "format"

As `.csv` or `.parquet` the lists are a table for other programs, see `neighbor_table`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checksums import DAMAGED, SEAL, file_checksum, require_seal, require_sound_archive
from ..datasets.arrays import load_arrays, map_array
from ..errors import ConfigError, DataError, RunError, shorten
from ..fileio import atomic_path, write_json
from .neighbor_table import TABLE_SUFFIXES, write_neighbor_table

FORMAT = "crossalign-neighbors-1"
METADATA = "metadata.json"
CHECKSUMS = "checksums"
CHECKED_ROWS = 2**16
"""Rows checked at a time, so that a mapped table is never held whole."""
REMAKE = "make it again with: crossalign neighbors"


@dataclass(frozen=True)
class Neighbors:
    """The `k` items with the most similar user feedback to each item, best first.

    Attributes:
        ids: `(n_items, k)` int64 item ids, -1 where an item has fewer neighbours.
        counts: `(n_items, k)` int64 number of common users, 0 where there is no neighbour.
        metadata: where they come from: data hash, options.
        scores: `(n_items, k)` float32, what they are ranked by, 0 where there is no neighbour;
            None for lists whose file does not say.
        item_ids: `(n_items,)` the user's own ids of the rows; None likewise.
    """

    ids: Tensor
    counts: Tensor
    metadata: Mapping[str, Any] = field(default_factory=dict)
    scores: Tensor | None = None
    item_ids: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file holds, by its name there."""
        found: dict[str, np.ndarray] = {
            "ids": self.ids.cpu().numpy(),
            "counts": self.counts.cpu().numpy(),
        }
        if self.scores is not None:
            found["scores"] = self.scores.cpu().numpy()
        if self.item_ids is not None:  # text without a length of its own would be pickled
            text = self.item_ids.dtype.kind not in "iu"
            found["item_ids"] = self.item_ids.astype(str) if text else self.item_ids
        return found


def save_neighbors(
    path: str | os.PathLike[str],
    neighbors: Neighbors,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write neighbour lists; see the module for the layouts.

    Args:
        path: one file, written atomically, if the name ends in `.npz`, `.csv` or `.parquet`; a
            name without an ending is a folder of `.npy` files, which is complete once its
            `metadata.json` is there.
        neighbors: what to write.
        metadata: anything JSON can hold, in place of `neighbors.metadata`. Put the data set's
            hash under `data_hash`, so that `load_neighbors` can compare it.

    Raises:
        ConfigError: the name has another ending.
        RunError: the file or folder cannot be written.
    """
    about = dict(neighbors.metadata if metadata is None else metadata)
    suffix = file_kind(path)
    if suffix in TABLE_SUFFIXES:
        write_neighbor_table(Path(path), neighbors.arrays())
        return
    arrays = neighbors.arrays()
    if not suffix:
        _save_folder(Path(path), arrays, about)
        return
    head: dict[str, Any] = {"format": np.array(FORMAT), "metadata": np.array(json.dumps(about))}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{**head, **arrays})


def file_kind(path: str | os.PathLike[str]) -> str:
    """`.npz`, `.csv`, `.parquet`, or nothing for a folder.

    Raises:
        ConfigError: the name has another ending.
    """
    suffix = Path(path).suffix
    if suffix in ("", ".npz", *TABLE_SUFFIXES):
        return suffix
    raise ConfigError(
        f"{path}: neighbours are written as .npz, .csv or .parquet, or into a folder, whose name "
        "has no ending"
    )


def _save_folder(path: Path, arrays: Mapping[str, np.ndarray], about: dict[str, Any]) -> None:
    """Arrays first, metadata last: without metadata the folder is no neighbour index."""
    if path.exists() and not path.is_dir():
        raise RunError(f"cannot write {path}: a file is in the way; choose another name, or *.npz")
    if (path / METADATA).exists() and not (path / "ids.npy").exists():
        raise RunError(f"{path} holds a {METADATA} of something else: choose another name")
    (path / METADATA).unlink(missing_ok=True)
    for name, table in arrays.items():
        with atomic_path(path / f"{name}.npy") as temporary:
            np.save(temporary, table)
    checksums = {name: file_checksum(path / f"{name}.npy") for name in ("ids", "counts")}
    write_json(path / METADATA, {"format": FORMAT, **about, CHECKSUMS: checksums})


def load_neighbors(
    path: str | os.PathLike[str], *, n_items: int | None = None, data_hash: str | None = None
) -> Neighbors:
    """Read and check neighbour lists.

    Args:
        path: file or folder of `save_neighbors`. The arrays of a folder are mapped into memory
            and read when used; writing to the tensors does not change the files.
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
    for start in range(0, len(ids), CHECKED_ROWS):
        _check_ids(path, ids[start : start + CHECKED_ROWS], start, len(ids))
    if data_hash is not None and metadata.get("data_hash") != data_hash:
        raise DataError(f"{path}: made from other data than this data set; {REMAKE}")
    return Neighbors(torch.from_numpy(ids), torch.from_numpy(counts), metadata)


def _check_ids(path: str | os.PathLike[str], ids: np.ndarray, start: int, n_items: int) -> None:
    """Raise `DataError` unless the lists of items from `start` hold other items, or -1."""
    wrong = np.argwhere((ids < -1) | (ids >= n_items))
    if len(wrong):
        row, place = wrong[0]
        found = f"item {start + row} has a neighbour {ids[row, place]}"
        raise DataError(f"{path}: {found} out of range; {REMAKE}")
    itself = np.flatnonzero((ids == np.arange(start, start + len(ids))[:, None]).any(axis=1))
    if len(itself):
        raise DataError(f"{path}: item {start + itself[0]} is its own neighbour; {REMAKE}")


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Ids, counts and metadata of a neighbour file or folder."""
    if not path.exists():
        raise DataError(f"neighbour file {path} does not exist; {REMAKE}")
    if path.suffix in TABLE_SUFFIXES:
        raise DataError(f"{path} is a table for other programs: write an .npz to read it again")
    try:
        return _read_folder(path) if path.is_dir() else _read_archive(path)
    except (RecursionError, *DAMAGED) as error:
        reason = shorten(str(error))
        raise DataError(f"{path} is damaged or no neighbour file ({reason}); {REMAKE}") from error


def _read_archive(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    require_sound_archive(path)
    try:
        arrays = load_arrays(path, ("format", "metadata", "ids", "counts"))
    except DataError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from error
    _check_format(path, str(arrays["format"]))
    metadata = json.loads(str(arrays["metadata"]))
    return arrays["ids"], arrays["counts"], dict(metadata)


def _read_folder(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    if not (path / METADATA).is_file():
        raise DataError(f"{path} is damaged or no neighbour file (no {METADATA}); {REMAKE}")
    metadata = dict(json.loads((path / METADATA).read_text(encoding="utf-8")))
    _check_format(path, metadata["format"])
    require_seal(metadata)
    metadata.pop(SEAL, None)
    for name, checksum in metadata.pop(CHECKSUMS, {}).items():
        if file_checksum(path / f"{name}.npy") != checksum:
            raise ValueError(f"the checksum of {name}.npy is wrong")
    metadata.pop("format")
    ids, counts = (map_array(path / f"{name}.npy", "c") for name in ("ids", "counts"))
    return ids, counts, metadata


def _check_format(path: Path, found: str) -> None:
    if found != FORMAT:
        raise DataError(f"{path}: format {shorten(found)} is not {FORMAT}; {REMAKE}")
