"""The MicroLens layout: one line a user, with the items in the order they were watched."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from .dataset import Dataset
from .ids import SPACE, tidy_ids
from .options import DataOptions
from .raw_files import COMPRESSED, read_text
from .table import Records, number_and_split

PAPER = "Ni et al., MicroLens, 2023"
EXPECTS = "pairs.tsv (MicroLens: user, tab, item ids in order, separated by spaces)"
OPTIONS = (
    "split",
    "split_seed",
    "row_order",
    "min_user_interactions",
    "min_item_interactions",
    "encoding",
)
NAMES = ("pairs.tsv", *(f"pairs.tsv{packed}" for packed in COMPRESSED))


def recognises(path: Path) -> bool:
    """Whether `path` is a `pairs.tsv` or a folder with one."""
    return path.name in NAMES or any((path / name).exists() for name in NAMES)


def read(path: Path, options: DataOptions) -> Dataset:
    """Read `user<TAB>item item item ...` lines without a header; the order serves as time.

    The items of a user in several lines follow each other as the lines do.

    Raises:
        DataError: the file is missing, or a line has another shape.
    """
    if options.split == "global_time":
        raise ConfigError(
            "data.split is global_time, but lists of pairs tell only the order of each user: "
            "choose chronological"
        )
    file = next((path / name for name in NAMES if (path / name).exists()), path)
    if file.is_dir():
        raise DataError(f"{path}: has no pairs.tsv; expected {EXPECTS}")
    users: list[str] = []
    items: list[str] = []
    lines: list[int] = []
    text = read_text(file, options.encoding).decode()
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), start=1):
        user, tab, sequence = line.removesuffix("\r").partition("\t")
        watched = [item for item in sequence.split(" ") if item.strip(SPACE)]
        if not user.strip(SPACE) or not tab or not watched or "\t" in sequence:
            raise DataError(
                f"{file}, line {number}: is no user, tab, and item ids separated by spaces; mend it"
            )
        users.extend([user] * len(watched))
        items.extend(watched)
        lines.extend([number] * len(watched))
    if not users:
        raise DataError(f"{file}: is empty; give at least one line")

    def where(row: int) -> str:
        return f"{file}, line {lines[row]}"

    time = np.arange(len(items))
    ids = (tidy_ids(users, where, "the user"), tidy_ids(items, where, "an item"))
    return number_and_split(Records(file, *ids, time), options)
