"""A partition folder: what lies in it, and whether all of it does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets.arrays import map_array
from ..errors import DataError, RunError
from ..fileio import read_json, write_text

MANIFEST = "parts.json"
"""Written last: a folder without it is half-written."""

GRAPH = "graph"
"""Name of the graph in `dgl.distributed`."""
VERSION = 1
NODES = ("user", "item")
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Parts:
    """A partitioned data set. Nodes are renumbered, so that those of a part follow each other.

    A node's *place* is its number in the partitioned graph; its *id* is that of the data set.

    Attributes:
        name: of the data set.
        data_hash: of the data set, as `dataset_hash` gives it.
        method: how nodes were assigned.
        n_users: number of users.
        n_items: number of items.
        users: users of each part.
        items: items of each part.
        pairs: training pairs of each part, that of their user.
        cut: training pairs whose item lies in another part.
        modalities: content modality -> width of its features.
        missing: modalities that some items lack.
        relations: names of the graph's edge types.
        neighbors: neighbours of an item; 0 if none were stored.
        neighbors_by: what they are neighbours by.
        dropped: split -> held-out rows left out because their user has no training row.
        files: path in the folder -> bytes.
        seconds: that the partition took.
    """

    name: str
    data_hash: str
    method: str
    n_users: int
    n_items: int
    users: tuple[int, ...]
    items: tuple[int, ...]
    pairs: tuple[int, ...]
    cut: int
    modalities: dict[str, int]
    missing: tuple[str, ...]
    relations: tuple[str, ...]
    neighbors: int
    neighbors_by: str
    dropped: dict[str, int]
    files: dict[str, int]
    seconds: float

    def __len__(self) -> int:
        return len(self.users)


def is_partition(folder: str | Path) -> bool:
    """Whether `folder` is a partition, or what is left of one."""
    return any((Path(folder) / name).is_file() for name in (MANIFEST, f"{GRAPH}.json"))


def save_parts(folder: Path, parts: Parts) -> None:
    """Write the manifest, which makes `folder` a partition folder."""
    write_text(folder / MANIFEST, json.dumps({"version": VERSION, **asdict(parts)}, indent=1))


def open_parts(folder: str | Path) -> Parts:
    """What the partition in `folder` says of itself, after a look at the size of every file.

    Raises:
        RunError: there is no such folder, or it is half-written, damaged or of another version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder} does not exist: make it with `crossalign partition`")
    if not (folder / MANIFEST).is_file():
        raise RunError(
            f"{folder} is no whole partition (no {MANIFEST}): delete it and run "
            "`crossalign partition` again"
        )
    held = read_json(folder / MANIFEST)
    if held.get("version") != VERSION:
        raise RunError(
            f"{folder} has format {held.get('version')}, this program reads {VERSION}: make it "
            "anew with `crossalign partition`"
        )
    names = {field.name for field in fields(Parts)}
    if not names <= set(held):
        raise RunError(f"{folder / MANIFEST} is damaged: partition the data again")
    values: dict[str, Any] = {name: held[name] for name in names}
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    parts = Parts(**values)
    for name, size in parts.files.items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            what = "is missing" if found is None else f"has {found:,} bytes"
            raise RunError(
                f"{folder / name} {what}, and {size:,} bytes were written: copy the folder again, "
                "or partition the data again"
            )
    return parts


def files_in(folder: Path) -> dict[str, int]:
    """Path -> bytes of every file below `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def array(folder: str | Path, name: str) -> np.ndarray:
    """The array `name` of the folder, mapped: of it, only what is read takes memory."""
    path = Path(folder) / f"{name}.npy"
    try:
        return map_array(path)
    except DataError as error:
        raise RunError(f"{path} is missing or damaged: partition the data again") from error


def tensor(folder: str | Path, name: str) -> Tensor:
    """The array `name` in memory."""
    return torch.from_numpy(np.array(array(folder, name)))


def pairs_of(folder: str | Path, split: str, first: int, last: int) -> Tensor:
    """`(2, n)` places of the pairs of `split` whose user lies in `first .. last - 1`."""
    held = array(folder, split)  # sorted by user
    start, end = np.searchsorted(held[0], [first, last])
    return torch.from_numpy(np.array(held[:, start:end]))


def graph_file(folder: str | Path) -> Path:
    """The file that DGL reads a partition from."""
    return Path(folder) / f"{GRAPH}.json"
