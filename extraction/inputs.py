"""Which content belongs to which item: columns of a table, or files named by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.frames import Frame, find_column, id_column, read_frame
from ..datasets.table import ITEM_NAMES
from ..errors import DataError
from ..tensors.later import pd
from .media import SUFFIXES, Kind, tidy_text

ID_NAMES = (*ITEM_NAMES, "id")


@dataclass(frozen=True)
class Inputs:
    """Content of one modality.

    Attributes:
        modality: its name.
        kind: what its inputs are.
        item_ids: `(n_items,)` ids as the data files have them, each once.
        contents: for every item its inputs, each once: texts, or files. Empty where it has none.
        origin: where they come from, for the record.
    """

    modality: str
    kind: Kind
    item_ids: np.ndarray
    contents: tuple[tuple[str | Path, ...], ...]
    origin: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemsTable:
    """A table with a row or several for each item.

    Attributes:
        file: where it is.
        frame: its columns.
        id_column: the one with the ids.
        row_ids: `(n_rows,)` ids.
    """

    file: Path
    frame: Frame
    id_column: str
    row_ids: np.ndarray

    @property
    def item_ids(self) -> np.ndarray:
        """`(n_items,)` every id once, in the order in which they first come."""
        return pd.unique(self.row_ids)


def read_items(file: Path, asked: str | None = None) -> ItemsTable:
    """Read a CSV, TSV or Parquet table of items.

    Args:
        file: the table.
        asked: its column of ids; by default the one called item, item_id, id or the like.

    Raises:
        DataError: it is no table, or has no such column, or an id is empty.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file; give a table of items (.csv, .tsv or .parquet)")
    frame = read_frame(file)
    column = find_column(frame, asked, ID_NAMES, "--id-column")
    ids = id_column(frame, column)
    return ItemsTable(file, frame, column, ids.names[ids.codes])


def from_columns(items: ItemsTable, columns: Sequence[str], kind: Kind, modality: str) -> Inputs:
    """Texts, or paths of files, in the columns of a table.

    Several text columns of a row are joined by a space. Several files of a row, and several rows
    of an item, are several inputs of the item.

    Args:
        items: the table; paths in it are relative to its folder.
        columns: which ones.
        kind: what they hold, or what lies where they point.
        modality: its name.

    Raises:
        DataError: the table has no such column.
    """
    for column in columns:
        find_column(items.frame, column, (), f"--{kind}")
    cells = [_strings(items.frame.columns[column]) for column in columns]
    found: dict[Any, dict[str | Path, None]] = {item: {} for item in items.item_ids.tolist()}
    for item, *row in zip(items.row_ids.tolist(), *cells, strict=True):
        given = [cell for cell in map(str.strip, row) if cell]
        if kind == "text":
            text = tidy_text(" ".join(given))
            found[item].update({text: None} if text else {})
        else:
            found[item].update(dict.fromkeys(items.file.parent / cell for cell in given))
    return Inputs(
        modality,
        kind,
        items.item_ids,
        tuple(tuple(inputs) for inputs in found.values()),
        {"table": items.file.name, "id_column": items.id_column, "columns": list(columns)},
    )


def _strings(column: Any) -> list[str]:
    return ["" if cell is None else str(cell) for cell in column.to_pylist()]


def from_folder(
    folder: Path, kind: Kind, modality: str, item_ids: np.ndarray | None = None
) -> Inputs:
    """Files named by item: `<id>.jpg`, or several in a folder `<id>/`.

    With a table, whose ids are known, `<id>_2.jpg` and `<id>-2.jpg` are further ones of an item.

    Args:
        folder: where they lie.
        kind: which suffixes count.
        modality: its name.
        item_ids: the items there are; by default those that have a file.

    Raises:
        DataError: no file in it belongs to an item.
    """
    known: dict[str, list[Path]] | None = None
    if item_ids is not None:
        known = {str(item): [] for item in item_ids.tolist()}
    found = {} if known is None else known
    foreign = 0
    for name, file in sorted(_named(folder, kind)):
        item = name if known is None else _owner(name, known)
        if item is None:
            foreign += 1
        else:
            found.setdefault(item, []).append(file)
    if not any(found.values()):
        suffixes = ", ".join(SUFFIXES[kind])
        raise DataError(
            f"{folder}: no {kind} file ({suffixes}) is named by an item's id; name them ID.ext, or "
            "put those of an item into a folder ID"
        )
    return Inputs(
        modality,
        kind,
        np.array(list(found)) if item_ids is None else item_ids,
        tuple(map(tuple, found.values())),
        {"folder": folder.name, "files_of_no_item": foreign},
    )


def _named(folder: Path, kind: Kind) -> Iterator[tuple[str, Path]]:
    """Files of the folder with the name that says whose they are."""
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            for file in entry.iterdir():
                if file.suffix.lower() in SUFFIXES[kind] and not file.name.startswith("."):
                    yield entry.name, file
        elif entry.suffix.lower() in SUFFIXES[kind]:
            yield entry.stem, entry


def _owner(name: str, known: dict[str, list[Path]]) -> str | None:
    """The item that a file's name means: itself, or what stands before `_2` or `-2`."""
    if name in known:
        return name
    for mark in "_-":
        item, found, number = name.rpartition(mark)
        if found and number.isdecimal() and item in known:
            return item
    return None
