"""Titles of items, for people to read; nothing is computed from them."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError, DataError
from .dataset import Dataset
from .frames import SUFFIXES, TABLE_FILES, find_column, id_column, read_frame
from .ids import id_texts
from .raw_files import table_suffix
from .table import ITEM_NAMES

TITLE_NAMES = ("title", "itemtitle", "movietitle", "name", "text")


def find_titles(path: str | Path) -> Path | None:
    """The file `titles.csv`, `.tsv` or `.parquet` beside the data at `path`, if there is one."""
    if not Path(path).exists():  # the built-in data
        return None
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    files = [folder / f"titles{suffix}" for suffix in TABLE_FILES]
    return next((file for file in files if file.is_file()), None)


def read_titles(
    file: str | Path, dataset: Dataset, columns: tuple[str, str] | None = None
) -> dict[int, str]:
    """Item number -> title; items without a row have none.

    Args:
        file: a table with the item ids of the data files, and titles.
        dataset: the data.
        columns: its columns of ids and titles; by default those with a usual name.

    Raises:
        DataError: the file is no such table, or counts items in another way than the data do.
    """
    file = Path(file)
    if table_suffix(file) not in SUFFIXES:
        raise ConfigError(f"{file} is no table: give titles as one of {', '.join(SUFFIXES)}")
    frame = read_frame(file)
    asked = columns or (None, None)
    item = find_column(frame, asked[0], ITEM_NAMES, "--title-columns")
    title = find_column(frame, asked[1], TITLE_NAMES, "--title-columns")
    ids = id_column(frame, item)
    names = id_texts(ids.names)[ids.codes]
    if dataset.item_ids is None:
        known = {str(number): number for number in range(dataset.n_items)}
        foreign = [name for name in names if name not in known]
        if foreign:
            raise DataError(
                f"{file}: {item} is {foreign[0]}, but {dataset.name} numbers its items 0 to "
                f"{dataset.n_items - 1}; name the column that counts alike with --title-columns"
            )
    else:
        known = {name: number for number, name in enumerate(id_texts(dataset.item_ids))}
    texts = (value.as_py() for value in frame.columns[title])
    pairs = zip(names, texts, strict=True)
    return {
        known[name]: " ".join(str("" if text is None else text).split())
        for name, text in pairs
        if name in known
    }
