"""The MMRec layout: `<name>.inter` with a split label, and content named after the modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import DataError
from .content import read_content
from .dataset import Dataset
from .frames import integer_column, line_of, read_frame, time_column
from .options import DataOptions
from .splits import TEST, TRAIN, choose_labels, split_pairs

PAPER = "Zhou, MMRec, MM Asia 2023; the layout of the Amazon sets Baby, Sports and Clothing"
EXPECTS = "<name>.inter (MMRec: tab-separated userID, itemID, ..., x_label)"
OPTIONS = ("split", "split_seed", "time_column")
MOST_IDS_A_ROW = 100
"""Ids for each row of the file, beyond which the largest one must be a mistake."""


def recognises(path: Path) -> bool:
    """Whether `path` is an `.inter` file or a folder with one."""
    return path.suffix == ".inter" or (path.is_dir() and any(path.glob("*.inter")))


def read(path: Path, options: DataOptions) -> Dataset:
    """Read a data set in MMRec's layout.

    The first two columns are user and item ids, numbered from 0 over the whole file (there are
    `max + 1` of each, so items without training rows exist); `x_label` is 0, 1 or 2 for train,
    valid or test. Row r of `<modality>_feat.npy` belongs to item r.

    Raises:
        DataError: a file is missing or broken, with the line.
    """
    file = _interaction_file(path)
    frame = read_frame(file)
    if frame.shape[1] < 2:
        raise DataError(f"{file}: has one column; separate user and item by a tab")
    users, items = (_ids(file, frame, column) for column in frame.columns[:2])
    _refuse_repeats(file, users, items)
    label = choose_labels(
        file,
        users,
        options,
        given=_given_labels(file, frame) if options.split == "auto" else None,
        time=time_column(file, frame, options),
    )
    splits = split_pairs(file, users, items, label)
    for what, ids in (("user", users), ("item", items)):
        if ids.max() > MOST_IDS_A_ROW * (len(ids) + 1000):
            raise DataError(
                f"{file}: {what} id {ids.max()} in {len(ids)} rows; ids must be numbered from 0 "
                "without large gaps: is it a stray one?"
            )
    n_items = int(items.max()) + 1
    content = read_content(file.parent, np.arange(n_items), options, all_items=True)
    return Dataset(
        name=file.stem,
        n_users=int(users.max()) + 1,
        n_items=n_items,
        **splits,
        **content.fields(),
    )


def _interaction_file(path: Path) -> Path:
    """The `.inter` file at `path`; of several, the one named after its folder."""
    if path.is_file():
        return path
    files = sorted(path.glob("*.inter"))
    if not files:
        raise DataError(f"{path}: has no .inter file; expected {EXPECTS}")
    own = [file for file in files if file.stem == path.resolve().name]
    if len(files) > 1 and not own:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{path}: several .inter files ({names}); give the path of one of them")
    return (own or files)[0]


def _ids(path: Path, frame: pd.DataFrame, column: str) -> np.ndarray:
    ids = integer_column(path, frame, column)
    negative = np.flatnonzero(ids < 0)
    if negative.size:
        row = int(negative[0])
        raise DataError(f"{path}, {line_of(path, row)}: {column} is {ids[row]}; number ids from 0")
    return ids


def _given_labels(path: Path, frame: pd.DataFrame) -> np.ndarray:
    if "x_label" not in frame.columns:
        raise DataError(f"{path}: has no column x_label; add it, or choose split random")
    label = integer_column(path, frame, "x_label")
    odd = np.flatnonzero((label < TRAIN) | (label > TEST))
    if odd.size:
        row = int(odd[0])
        raise DataError(
            f"{path}, {line_of(path, row)}: x_label is {label[row]}; use 0 train, 1 valid, 2 test"
        )
    return label


def _refuse_repeats(path: Path, users: np.ndarray, items: np.ndarray) -> None:
    _, first = np.unique(users * (items.max() + 1) + items, return_index=True)
    if len(first) < len(users):
        again = np.setdiff1d(np.arange(len(users)), first)
        row = int(again[0])
        raise DataError(
            f"{path}, {line_of(path, row)}: user {users[row]} and item {items[row]} stand in an "
            f"earlier line too ({len(again)} such line(s)); remove repeats"
        )
