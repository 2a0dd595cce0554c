"""Plain tables of user, item[, time][, split] with any ids, and the common path from raw ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from .content import read_content
from .dataset import Dataset, Intake
from .frames import (
    SUFFIXES,
    TABLE_FILES,
    Frame,
    find_column,
    id_column,
    liked,
    read_frame,
    usual_column,
)
from .ids import Ids, tidy_ids
from .options import DataOptions
from .raw_files import table_stem, table_suffix
from .splits import BY_TIME, LABELS, choose_labels, drawn_by_lot, k_core, split_pairs, split_rule
from .times import time_column

PAPER = "your own data"
EXPECTS = "interactions.csv, .tsv, .jsonl or .parquet (a table of user, item[, time][, split])"
OPTIONS = (
    "split",
    "split_seed",
    "row_order",
    "min_user_interactions",
    "min_item_interactions",
    "user_column",
    "item_column",
    "time_column",
    "rating_column",
    "min_rating",
    "separator",
    "encoding",
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
        users: original ids.
        items: original ids.
        time: `(n,)` times, if needed.
        label: `(n,)` 0, 1 or 2 for train, valid or test, if given.
        counts: `(n,)` bool, False for rows that are no interaction, such as low ratings.
        notes: what was odd.
    """

    file: Path
    users: Ids
    items: Ids
    time: np.ndarray | None = None
    label: np.ndarray | None = None
    counts: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def recognises(path: Path) -> bool:
    """Whether `path` is a table file, or a folder with a table called `interactions`."""
    if path.is_dir():
        return any((path / f"interactions{suffix}").exists() for suffix in TABLE_FILES)
    return table_suffix(path) in SUFFIXES


def read(path: Path, options: DataOptions) -> Dataset:
    """Read a table of interactions, and the content files beside it.

    Repeated pairs count once: of several times the earliest, of several splits training before
    validation before test. Users and items are numbered in the sorted order of their ids, after
    k-core filtering, and interactions are sorted by them, so that nothing depends on the order of
    rows (unless `options.row_order` says so).

    Raises:
        DataError: a file, column or value is missing or broken, with the line.
    """
    file = table_file(path)
    frame = read_frame(file, options)
    user = find_column(frame, options.user_column, USER_NAMES, "data.user_column")
    item = find_column(frame, options.item_column, ITEM_NAMES, "data.item_column")
    counts, ratings = liked(frame, options)
    records = Records(
        file,
        id_column(frame, user),
        id_column(frame, item),
        time_column(frame, options),
        _given_labels(frame, options.split),
        counts,
        frame.notes + ((ratings,) if ratings else ()),
    )
    return number_and_split(records, options)


def number_and_split(records: Records, options: DataOptions) -> Dataset:
    """From raw records to a `Dataset`: order, repeats, k-core, numbering, split, content."""
    file, n = records.file, len(records.users.codes)
    counts = np.ones(n, dtype=bool) if records.counts is None else records.counts
    as_written = options.row_order == "file"
    rows = np.arange(n) if as_written else _in_order(records)
    rows = rows[counts[rows]]
    once = rows[_first_of_pairs(records, rows)]
    kept = once[
        k_core(
            records.users.codes[once],
            records.items.codes[once],
            options.min_user_interactions,
            options.min_item_interactions,
        )
    ]
    if not kept.size:
        raise DataError(
            f"{file}: no interaction is left after {'k-core filtering' if once.size else 'ratings'}"
            "; lower min_user_interactions, min_item_interactions or min_rating"
        )
    users, items = records.users.take(kept), records.items.take(kept)
    time = None if records.time is None else records.time[kept]
    given = None if records.label is None else records.label[kept]
    label = choose_labels(file, users.codes, options, given=given, time=time)
    splits = split_pairs(file, users.codes, items.codes, label)
    content = read_content(file.parent, items.names, options, all_items=False)
    left_out = {
        "rated below min_rating": n - len(rows),
        "repeated": len(rows) - len(once),
        "by k-core filtering": len(once) - len(kept),
        "held out of users without a training row": sum(splits["dropped"].values()),
    }
    content.notes[:0] = records.notes
    content.notes.extend(_notes(left_out))
    if time is not None and not as_written:
        content.notes.extend(tie_notes(users.codes, time, label))
    stem = table_stem(file)
    return Dataset(
        name=file.parent.resolve().name if stem in ("interactions", "pairs") else stem,
        n_users=len(users.names),
        n_items=len(items.names),
        **splits,
        **content.fields(),
        user_ids=users.names,
        item_ids=items.names,
        intake=Intake(n, left_out),
        split_rule=split_rule(options, given=given is not None),
        rated_low=_pairs_of(records, ~counts, users, items),
    )


def _in_order(records: Records) -> np.ndarray:
    """All rows by user, item, time and label: the order of the file does not count."""
    keys = [records.label, records.time, records.items.codes, records.users.codes]
    return np.lexsort([key for key in keys if key is not None])


def _first_of_pairs(records: Records, rows: np.ndarray) -> np.ndarray:
    """`(len(rows),)` bool, True for the first of the rows of each pair."""
    pairs = records.users.codes[rows] * len(records.items.names) + records.items.codes[rows]
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def _pairs_of(records: Records, rows: np.ndarray, users: Ids, items: Ids) -> torch.Tensor:
    """Numbers of the users and items of the mask `rows`, `(2, m)`, where both are still there."""
    pairs = []
    for all_ids, left in ((records.users, users), (records.items, items)):
        number = np.full(len(all_ids.names), -1)
        number[np.searchsorted(all_ids.names, left.names)] = np.arange(len(left.names))
        pairs.append(number[all_ids.codes[rows]])
    found = np.unique(np.stack(pairs), axis=1)
    return torch.from_numpy(found[:, (found >= 0).all(axis=0)])


def _notes(left_out: dict[str, int]) -> Iterator[str]:
    if left_out["rated below min_rating"]:
        yield f"{left_out['rated below min_rating']} row(s) rated below min_rating left out"
    if left_out["repeated"]:
        yield f"{left_out['repeated']} repeated interaction(s) left out"
    if left_out["by k-core filtering"]:
        yield f"{left_out['by k-core filtering']} row(s) left out by k-core filtering"


def tie_notes(users: np.ndarray, time: np.ndarray, label: np.ndarray) -> Iterator[str]:
    """A warning where a draw had to decide which rows are held out."""
    tied = drawn_by_lot(users, time, label)
    if tied:
        yield (
            f"{tied} row(s) share user and time with a row of another split: a draw "
            "(data.split_seed) decided between them"
        )


def table_file(path: Path) -> Path:
    """The table at `path`, or in this folder. Raises `DataError` if there is none, or several."""
    if not path.is_dir():
        if table_suffix(path) not in SUFFIXES:
            raise DataError(f"{path}: is no table; use one of {', '.join(TABLE_FILES)}")
        return path
    files = [path / f"interactions{suffix}" for suffix in TABLE_FILES]
    found = [file for file in files if file.exists()]
    if not found:
        raise DataError(f"{path}: has no interactions table; expected {EXPECTS}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise DataError(f"{path}: several tables ({names}); give the path of one of them")
    return found[0]


def _given_labels(frame: Frame, split: str) -> np.ndarray | None:
    """Labels from the split column: the one named, or for `auto` the one with a usual name."""
    if split in ("random", *BY_TIME):
        return None
    column = usual_column(frame, SPLIT_NAMES)
    if split != "auto":
        column = find_column(
            frame, split, SPLIT_NAMES, "data.split (random, chronological, global_time)"
        )
    if column is None:
        return None
    words = tidy_ids(frame.columns[column], frame.where, column)
    labels = np.array([SPLIT_WORDS.get(str(word).lower(), -1) for word in words.names.tolist()])
    label = labels[words.codes]
    odd = np.flatnonzero(label < 0)
    if odd.size:
        row = int(odd[0])
        raise DataError(
            f"{frame.where(row)}: {column} is {frame.value(column, row)}; use train, valid or test "
            "(or 0, 1, 2)"
        )
    return label
