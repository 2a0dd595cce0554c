"""The MMRec layout: `<name>.inter` with a split label, and content named after the modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from .content import read_content
from .dataset import Dataset, Intake
from .frames import Frame, integer_column, liked, read_frame
from .options import DataOptions
from .raw_files import table_stem, table_suffix
from .splits import TEST, TRAIN, choose_labels, split_pairs, split_rule
from .table import tie_notes
from .times import time_column

PAPER = "Zhou, MMRec, MM Asia 2023; the layout of the Amazon sets Baby, Sports and Clothing"
EXPECTS = "<name>.inter (MMRec: tab-separated userID, itemID, ..., x_label)"
OPTIONS = (
    "split",
    "split_seed",
    "row_order",
    "time_column",
    "rating_column",
    "min_rating",
    "separator",
    "encoding",
)
MOST_IDS_A_ROW = 100
"""Ids for each row of the file, beyond which the largest one must be a mistake."""


FILES = ("*.inter", "*.inter.gz", "*.inter.zst")


def recognises(path: Path) -> bool:
    """Whether `path` is an `.inter` file or a folder with one."""
    if path.is_dir():
        return any(found for pattern in FILES for found in path.glob(pattern))
    return table_suffix(path) == ".inter"


def read(path: Path, options: DataOptions) -> Dataset:
    """Read a data set in MMRec's layout.

    The first two columns are user and item ids, numbered from 0 over the whole file (there are
    `max + 1` of each, so items without training rows exist); `x_label` is 0, 1 or 2 for train,
    valid or test. Row r of `<modality>_feat.npy` belongs to item r. The order of rows does not
    count.

    Raises:
        DataError: a file is missing or broken, with the line.
    """
    file = interaction_file(path)
    frame = read_frame(file, options)
    if len(frame.columns) < 2:
        raise DataError(f"{file}: has one column; separate user and item by a tab")
    users, items = (_ids(frame, column) for column in list(frame.columns)[:2])
    for what, ids in (("user", users), ("item", items)):
        if ids.max() > MOST_IDS_A_ROW * (len(ids) + 1000):
            raise DataError(
                f"{file}: {what} id {ids.max()} in {len(ids)} rows; ids must be numbered from 0 "
                "without large gaps: is it a stray one?"
            )
    _refuse_repeats(frame, users, items)
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    given = _given_labels(frame) if options.split == "auto" else None
    time, (counts, ratings) = time_column(frame, options), liked(frame, options)
    low = torch.from_numpy(np.stack([users, items])[:, ~counts])
    as_written = options.row_order == "file"
    rows = np.arange(len(users)) if as_written else np.lexsort((items, users))
    rows = rows[counts[rows]]
    if not rows.size:
        raise DataError(f"{file}: no row is rated data.min_rating or higher; lower it")
    users, items = users[rows], items[rows]
    given = None if given is None else given[rows]
    time = None if time is None else time[rows]
    label = choose_labels(file, users, options, given=given, time=time)
    splits = split_pairs(file, users, items, label)
    content = read_content(file.parent, np.arange(n_items), options, all_items=True)
    content.notes[:0] = (*frame.notes, *((ratings,) if ratings else ()))
    if time is not None and not as_written:
        content.notes.extend(tie_notes(users, time, label))
    left_out = {
        "rated below min_rating": len(frame) - len(rows),
        "held out of users without a training row": sum(splits["dropped"].values()),
    }
    return Dataset(
        name=table_stem(file),
        n_users=n_users,
        n_items=n_items,
        **splits,
        **content.fields(),
        intake=Intake(len(frame), left_out),
        split_rule=split_rule(options, given=given is not None),
        rated_low=low,
    )


def interaction_file(path: Path) -> Path:
    """The `.inter` file at `path`; of several, the one named after its folder."""
    if not path.is_dir():
        return path
    files = sorted(found for pattern in FILES for found in path.glob(pattern))
    if not files:
        raise DataError(f"{path}: has no .inter file; expected {EXPECTS}")
    own = [file for file in files if table_stem(file) == path.resolve().name]
    if len(files) > 1 and len(own) != 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{path}: several .inter files ({names}); give the path of one of them")
    return (own or files)[0]


def _ids(frame: Frame, column: str) -> np.ndarray:
    ids = integer_column(frame, column)
    negative = np.flatnonzero(ids < 0)
    if negative.size:
        row = int(negative[0])
        raise DataError(f"{frame.where(row)}: {column} is {ids[row]}; number ids from 0")
    return ids


def _given_labels(frame: Frame) -> np.ndarray:
    if "x_label" not in frame.columns:
        raise DataError(f"{frame.file}: has no column x_label; add it, or choose split random")
    label = integer_column(frame, "x_label")
    odd = np.flatnonzero((label < TRAIN) | (label > TEST))
    if odd.size:
        row = int(odd[0])
        raise DataError(
            f"{frame.where(row)}: x_label is {label[row]}; use 0 train, 1 valid, 2 test"
        )
    return label


def _refuse_repeats(frame: Frame, users: np.ndarray, items: np.ndarray) -> None:
    _, first = np.unique(users * (items.max() + 1) + items, return_index=True)
    if len(first) < len(users):
        again = np.setdiff1d(np.arange(len(users)), first)
        row = int(again[0])
        raise DataError(
            f"{frame.where(row)}: user {users[row]} and item {items[row]} stand in an earlier line "
            f"too ({len(again)} such line(s)); remove repeats"
        )
