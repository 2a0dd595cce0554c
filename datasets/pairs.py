"""The MicroLens layout: one line a user, with the items in the order they were watched."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .dataset import Dataset
from .frames import tidy_ids
from .options import DataOptions
from .table import Records, number_and_split

PAPER = "Ni et al., MicroLens, 2023"
EXPECTS = "pairs.tsv (MicroLens: user, tab, item ids in order, separated by spaces)"
OPTIONS = ("split", "split_seed", "min_user_interactions", "min_item_interactions")


def recognises(path: Path) -> bool:
    """Whether `path` is a `pairs.tsv` or a folder with one."""
    return path.name == "pairs.tsv" or (path / "pairs.tsv").is_file()


def read(path: Path, options: DataOptions) -> Dataset:
    """Read `user<TAB>item item item ...` lines without a header; the order serves as time.

    Raises:
        DataError: the file is missing, or a line has another shape.
    """
    file = path if path.is_file() else path / "pairs.tsv"
    if not file.is_file():
        raise DataError(f"{path}: has no pairs.tsv; expected {EXPECTS}")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8 text; save it in UTF-8") from error
    users: list[str] = []
    items: list[str] = []
    for number, line in enumerate(lines, start=1):
        user, tab, sequence = line.partition("\t")
        watched = sequence.split()
        if not user.strip() or not tab or not watched or "\t" in sequence:
            raise DataError(
                f"{file}, line {number}: is no user, tab, and item ids separated by spaces; mend it"
            )
        users.extend([user.strip()] * len(watched))
        items.extend(watched)
    if not users:
        raise DataError(f"{file}: is empty; give at least one line")
    time = np.arange(len(items), dtype=np.float64)
    records = Records(file, tidy_ids(np.array(users)), tidy_ids(np.array(items)), time)
    return number_and_split(records, options)
