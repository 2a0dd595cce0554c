"""Tables on disk, of text or Parquet, and clean columns out of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, shorten
from ..tensors.later import pa, pc, pd
from .ids import Ids, tidy_ids
from .options import DataOptions
from .raw_files import open_plain, read_text, table_suffix
from .text_tables import SEPARATORS, TextTable, read_json_lines, read_separated

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Of tables; those of text may be compressed, with `.gz` or `.zst` after it."""
TABLE_FILES = (
    *SUFFIXES,
    *(suffix + packed for packed in (".gz", ".zst") for suffix in SUFFIXES[:-1]),
)
LEVEL = "__index_level_"
"""What pandas calls an index without a name in Parquet files."""


@dataclass(frozen=True)
class Frame:
    """A table, as its file has it.

    Attributes:
        file: where it comes from.
        columns: name -> `(n,)`; text files give strings, Parquet keeps its types.
        lines: `(n,)` line of every row in a text file; None where it is row + 2.
        index: columns that were the index of a data frame (Parquet).
        notes: what was odd.
        nested: column -> first row with a list or an object (JSON lines).
    """

    file: Path
    columns: Mapping[str, Any]
    lines: np.ndarray | None = None
    index: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    nested: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def where(self, row: int) -> str:
        """File and place of row `row` (from 0), for messages."""
        if table_suffix(self.file) == ".parquet":
            return f"{self.file}, row {row}"
        line = row + 2 if self.lines is None else self.lines[row]  # the header is line 1
        return f"{self.file}, line {line}"

    def value(self, column: str, row: int) -> str:
        """A value as it is shown in messages."""
        return shorten(repr(self.columns[column][int(row)].as_py()))

    def take(self, kept: np.ndarray) -> Frame:
        """Only the rows of the mask `kept`."""
        columns = {name: column.filter(pa.array(kept)) for name, column in self.columns.items()}
        lines = np.arange(len(kept)) + 2 if self.lines is None else self.lines
        return Frame(self.file, columns, lines[kept], self.index, self.notes)


DEFAULTS = DataOptions()


def read_frame(path: Path, options: DataOptions = DEFAULTS) -> Frame:
    """Read a table.

    Args:
        path: ends in one of `TABLE_FILES`, or `.inter`.
        options: `separator` and `encoding` are used.

    Raises:
        DataError: the file is missing, empty, or not a table of its suffix.
    """
    suffix = table_suffix(path)
    if suffix == ".parquet":
        frame = _read_parquet(path)
    else:
        table = _read_text_table(path, suffix, options)
        for name in table.names:
            if table.names.count(name) > 1:
                raise DataError(f"{path}: two columns are called '{name}'; rename one")
        columns = dict(zip(table.names, table.columns, strict=True))
        frame = Frame(path, columns, table.lines, (), table.notes, table.nested)
    if not len(frame):
        raise DataError(f"{path}: has no rows; give at least one interaction")
    return frame


def _read_text_table(path: Path, suffix: str, options: DataOptions) -> TextTable:
    text = read_text(path, options.encoding)
    if not text.strip():
        raise DataError(f"{path}: is no {suffix[1:]} table (it is empty); mend it")
    if suffix == ".jsonl":
        return read_json_lines(path, text)
    return read_separated(path, text, options.separator, SEPARATORS[suffix])


def _read_parquet(path: Path) -> Frame:
    from pyarrow import parquet

    with open_plain(path) as file:
        try:
            table = parquet.read_table(file, use_threads=False, pre_buffer=False)
            about = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
            names = [str(name) for name in table.column_names]
            columns: dict[str, Any] = dict(zip(names, table.columns, strict=True))
            index = _index_columns(about.get("index_columns", ()), columns, table.num_rows)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file can raise nearly anything
            reason = shorten(str(error) or type(error).__name__)
            raise DataError(f"{path}: damaged Parquet file ({reason}); write it again") from error
    if len(columns) < len(names):
        raise DataError(f"{path}: two columns have the same name; rename one")
    return Frame(path, columns, index=index)


def _index_columns(described: Sequence[Any], columns: dict[str, Any], n: int) -> tuple[str, ...]:
    """Names of the columns that were an index; one that is only described is added."""
    found = []
    for entry in described:
        if isinstance(entry, str) and entry in columns:
            found.append(entry)
        elif isinstance(entry, dict) and entry.get("name") and entry["name"] not in columns:
            start, step = int(entry["start"]), int(entry["step"])
            columns[entry["name"]] = pa.array(start + step * np.arange(n))
            found.append(entry["name"])
    return tuple(found)


def floats(column: Any) -> np.ndarray:
    """`(n,)` float64, NaN where a value is missing or no number."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return floats(column.cast(kind.value_type))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return np.asarray(pc.cast(column, pa.float64(), safe=False), dtype=np.float64)
    if is_text(kind):
        text = pd.Series(np.asarray(column, dtype=object))
        return pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.full(len(column), np.nan)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is one of text."""
    return str(kind) in ("string", "large_string", "string_view")


def integer_column(frame: Frame, column: str) -> np.ndarray:
    """`(n,)` int64 from column `column`. Raises `DataError` at the first other value."""
    numbers = floats(frame.columns[column])
    bad = np.flatnonzero(~(np.abs(numbers) < 2**53) | (numbers != np.floor(numbers)))
    refuse(frame, column, bad, "not a whole number; mend it")
    return numbers.astype(np.int64)


def number_column(frame: Frame, column: str) -> np.ndarray:
    """`(n,)` float64 from column `column`. Raises `DataError` at the first non-finite value."""
    numbers = floats(frame.columns[column])
    refuse(frame, column, np.flatnonzero(~np.isfinite(numbers)), "not a number; mend it")
    return numbers


def refuse(frame: Frame, column: str, rows: np.ndarray, reason: str) -> None:
    """Raise `DataError` that names the first of `rows`, and its value, if there are any."""
    if len(rows):
        value = frame.value(column, rows[0])
        raise DataError(f"{frame.where(rows[0])}: {column} is {value}, {reason}")


def id_column(frame: Frame, column: str) -> Ids:
    """Ids out of a column, see `tidy_ids`.

    Raises:
        DataError: an id is empty, or cannot be one, with its line.
    """
    if column in frame.nested:
        refuse(frame, column, np.array([frame.nested[column]]), "no id; write numbers or strings")
    return tidy_ids(frame.columns[column], frame.where, column)


def find_column(frame: Frame, asked: str | None, usual: Sequence[str], option: str) -> str:
    """The column asked for, else the first one with a usual name.

    Raises:
        DataError: there is no such column; the message names the option that chooses it.
    """
    columns = list(frame.columns)
    found = asked or usual_column(frame, usual)
    if found not in columns:
        missing = f"no column '{asked}'" if asked else f"no column called {usual[0]}"
        raise DataError(
            f"{frame.file}: has {missing}; set {option} to one of its columns: "
            f"{shorten(', '.join(columns))}"
        )
    return found


def usual_column(frame: Frame, usual: Sequence[str]) -> str | None:
    """The first column with a usual name; case and punctuation do not count."""
    plain = {plain_name(column): column for column in reversed(list(frame.columns))}
    return next((plain[name] for name in usual if name in plain), None)


def plain_name(column: str) -> str:
    """Letters and digits of a name, in lower case."""
    return "".join(filter(str.isalnum, column)).lower()


RATING_NAMES = ("rating", "stars", "overall", "score")


def liked(frame: Frame, options: DataOptions) -> tuple[np.ndarray, str | None]:
    """Which rows count by `data.min_rating`, `(n,)` bool, and what to say of ratings not read.

    Raises:
        DataError: a rating is missing or no number.
        ConfigError: a column of ratings is named, and no threshold.
    """
    every = np.ones(len(frame), dtype=bool)
    if options.min_rating is None:
        if options.rating_column is not None:
            raise ConfigError("data.rating_column has no effect without data.min_rating")
        column = usual_column(frame, RATING_NAMES)
        if column is None or len(frame.columns[column].unique()) < 2:
            return every, None
        return every, (
            f"'{column}' is not read, low ones count too: set data.min_rating to leave them out"
        )
    column = find_column(frame, options.rating_column, RATING_NAMES, "data.rating_column")
    return number_column(frame, column) >= options.min_rating, None
