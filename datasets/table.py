"""Plain tables of user, item[, time][, split] with any ids, and the common path from raw ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import DataError
from .content import read_content
from .dataset import Dataset
from .frames import SUFFIXES, find_column, id_column, line_of, read_frame, time_column, usual_column
from .options import DataOptions
from .splits import LABELS, choose_labels, k_core, split_pairs

PAPER = "your own data"
EXPECTS = "interactions.csv, .tsv or .parquet (a table of user, item[, time][, split])"
OPTIONS = (
    "split",
    "split_seed",
    "min_user_interactions",
    "min_item_interactions",
    "user_column",
    "item_column",
    "time_column",
)

USER_NAMES = ("user", "userid", "uid", "userno", "reviewerid")
ITEM_NAMES = ("item", "itemid", "iid", "itemno", "asin", "productid", "movieid", "videoid")
SPLIT_NAMES = ("split", "xlabel")
SPLIT_WORDS = {
    **LABELS,
    **{str(label): label for label in LABELS.values()},
    "training": LABELS["train"],
    "validation": LABELS["valid"],
    "val": LABELS["valid"],
    "dev": LABELS["valid"],
}


@dataclass(frozen=True)
class Records:
    """Interactions as a file gives them, before filtering, numbering and splitting.

    Attributes:
        file: where they come from.
        users: `(n,)` original ids.
        items: `(n,)` original ids.
        time: `(n,)` times, if needed.
        label: `(n,)` 0, 1 or 2 for train, valid or test, if given.
    """

    file: Path
    users: np.ndarray
    items: np.ndarray
    time: np.ndarray | None = None
    label: np.ndarray | None = None


def recognises(path: Path) -> bool:
    """Whether `path` is a table file, or a folder with a table called `interactions`."""
    if path.is_dir():
        return any((path / f"interactions{suffix}").is_file() for suffix in SUFFIXES)
    return path.suffix in SUFFIXES


def read(path: Path, options: DataOptions) -> Dataset:
    """Read a table of interactions, and the content files beside it.

    Repeated pairs count once (the first stays). Users and items are numbered in the sorted order
    of their ids, after k-core filtering.

    Raises:
        DataError: a file, column or value is missing or broken, with the line.
    """
    file = _table_file(path)
    frame = read_frame(file)
    user = find_column(file, frame, options.user_column, USER_NAMES, "data.user_column")
    item = find_column(file, frame, options.item_column, ITEM_NAMES, "data.item_column")
    records = Records(
        file,
        id_column(file, frame, user),
        id_column(file, frame, item),
        time_column(file, frame, options),
        _given_labels(file, frame, options.split),
    )
    return number_and_split(records, options)


def number_and_split(records: Records, options: DataOptions) -> Dataset:
    """From raw records to a `Dataset`: repeats, k-core, numbering, split, content."""
    file = records.file
    users = np.unique(records.users, return_inverse=True)[1]
    items = np.unique(records.items, return_inverse=True)[1]
    first = np.unique(users * (items.max() + 1) + items, return_index=True)[1]
    kept = np.sort(first)
    notes = []
    if len(kept) < len(users):
        notes.append(f"{len(users) - len(kept)} repeated interaction(s) left out")
    core = k_core(
        users[kept], items[kept], options.min_user_interactions, options.min_item_interactions
    )
    kept = kept[core]
    if not kept.size:
        raise DataError(
            f"{file}: no interaction is left after k-core filtering; lower min_user_interactions "
            "or min_item_interactions"
        )
    user_ids, users = np.unique(records.users[kept], return_inverse=True)
    item_ids, items = np.unique(records.items[kept], return_inverse=True)
    label = choose_labels(
        file,
        users,
        options,
        given=None if records.label is None else records.label[kept],
        time=None if records.time is None else records.time[kept],
    )
    splits = split_pairs(file, users, items, label)
    content = read_content(file.parent, item_ids, options, all_items=False)
    content.notes.extend(notes)
    return Dataset(
        name=file.parent.resolve().name if file.stem in ("interactions", "pairs") else file.stem,
        n_users=len(user_ids),
        n_items=len(item_ids),
        **splits,
        **content.fields(),
        user_ids=user_ids,
        item_ids=item_ids,
    )


def _table_file(path: Path) -> Path:
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise DataError(f"{path}: is no table; use one of {', '.join(SUFFIXES)}")
        return path
    files = [path / f"interactions{suffix}" for suffix in SUFFIXES]
    found = [file for file in files if file.is_file()]
    if not found:
        raise DataError(f"{path}: has no interactions table; expected {EXPECTS}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise DataError(f"{path}: several tables ({names}); give the path of one of them")
    return found[0]


def _given_labels(path: Path, frame: pd.DataFrame, split: str) -> np.ndarray | None:
    """Labels from the split column: the one named, or for `auto` the one with a usual name."""
    if split in ("random", "chronological"):
        return None
    column = usual_column(frame, SPLIT_NAMES)
    if split != "auto":
        column = find_column(path, frame, split, SPLIT_NAMES, "data.split (random, chronological)")
    if column is None:
        return None
    words = frame[column].astype(str).str.strip().str.lower()
    label = words.map(SPLIT_WORDS)
    odd = np.flatnonzero(label.isna().to_numpy())
    if odd.size:
        row = int(odd[0])
        raise DataError(
            f"{path}, {line_of(path, row)}: {column} is {frame[column].iloc[row]!r}; use train, "
            "valid or test (or 0, 1, 2)"
        )
    return label.to_numpy(dtype=np.int64)
