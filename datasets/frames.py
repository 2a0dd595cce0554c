"""Tables on disk, of text or Parquet, and clean columns out of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, shorten
from ..tensors.later import pa, pc, pd
from .ids import SPACE, Ids, tidy_ids
from .options import DataOptions
from .raw_files import open_plain, read_text, table_suffix
from .splits import BY_TIME
from .text_tables import SEPARATORS, TextTable, read_json_lines, read_separated

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Of tables; those of text may be compressed, with `.gz` or `.zst` after it."""
TABLE_FILES = (
    *SUFFIXES,
    *(suffix + packed for packed in (".gz", ".zst") for suffix in SUFFIXES[:-1]),
)
TIME_NAMES = ("timestamp", "time", "date", "datetime", "unixreviewtime")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
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
    if _is_text(kind):
        text = pd.Series(np.asarray(column, dtype=object))
        return pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.full(len(column), np.nan)


def _is_text(kind: pa.DataType) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def integer_column(frame: Frame, column: str) -> np.ndarray:
    """`(n,)` int64 from column `column`. Raises `DataError` at the first other value."""
    numbers = floats(frame.columns[column])
    bad = np.flatnonzero(~(np.abs(numbers) < 2**53) | (numbers != np.floor(numbers)))
    _refuse(frame, column, bad, "not a whole number; mend it")
    return numbers.astype(np.int64)


def number_column(frame: Frame, column: str) -> np.ndarray:
    """`(n,)` float64 from column `column`. Raises `DataError` at the first non-finite value."""
    numbers = floats(frame.columns[column])
    _refuse(frame, column, np.flatnonzero(~np.isfinite(numbers)), "not a number; mend it")
    return numbers


def _refuse(frame: Frame, column: str, rows: np.ndarray, reason: str) -> None:
    if len(rows):
        value = frame.value(column, rows[0])
        raise DataError(f"{frame.where(rows[0])}: {column} is {value}, {reason}")


def id_column(frame: Frame, column: str) -> Ids:
    """Ids out of a column, see `tidy_ids`.

    Raises:
        DataError: an id is empty, or cannot be one, with its line.
    """
    if column in frame.nested:
        _refuse(frame, column, np.array([frame.nested[column]]), "no id; write numbers or strings")
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


def time_column(frame: Frame, options: DataOptions) -> np.ndarray | None:
    """`(n,)` times for a split by time, int64 or float64; None where the split needs none.

    Raises:
        DataError: a time is missing, or neither a number nor a date; the line is named.
    """
    if options.split not in BY_TIME:
        return None
    name = find_column(frame, options.time_column, TIME_NAMES, "data.time_column")
    column = frame.columns[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    missing = np.asarray(column.is_null())
    if _is_text(column.type):
        column = pc.utf8_trim(column, characters=SPACE)
        missing = np.asarray(pc.fill_null(pc.equal(column, ""), True))
    _refuse(frame, name, np.flatnonzero(missing), "no time; fill it in or remove the row")
    if pa.types.is_temporal(column.type):
        return _numbered(column)
    try:
        return np.asarray(pc.cast(column, pa.int64()))  # exact beyond 2^53
    except pa.ArrowException:
        return _numbers_or_dates(frame, name, column)


def _numbered(column: Any) -> np.ndarray:
    """Dates, times and durations as whole numbers of their unit."""
    width = pa.int32() if column.type.bit_width == 32 else pa.int64()
    return np.asarray(pc.cast(pc.cast(column, width), pa.int64()))


def _numbers_or_dates(frame: Frame, name: str, column: Any) -> np.ndarray:
    numbers = floats(column)
    number = np.isfinite(numbers)
    if number.all() or not _is_text(column.type):
        _refuse(frame, name, np.flatnonzero(~number), "not a number; mend it")
        return numbers
    text = pd.Series(np.asarray(column, dtype=object))
    try:
        dates = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
    except (ValueError, OverflowError) as error:
        raise DataError(f"{frame.file}: {name} has dates that cannot be read ({error})") from error
    odd = dates.isna().to_numpy()
    if number.sum() >= (~odd).sum():
        _refuse(frame, name, np.flatnonzero(~number), "not a number; mend it")
    if odd.any():
        form = date_form(str(text[int(np.flatnonzero(odd)[0])]))
        reason = f"{form}; write it as 2024-01-31 or 2024-01-31T23:59:59"
        _refuse(frame, name, np.flatnonzero(odd), reason)
    wall = dates.dt.tz_localize(None).to_numpy()
    return wall.astype("datetime64[us]").astype(np.int64)  # years beyond 2262 too


def date_form(text: str) -> str:
    """What the date `text`, which is not written year-month-day, looks like, for messages."""
    text = text.strip()
    parts = re.match(r"(\d{1,2})([./-])(\d{1,2})\2(\d{1,4})(?!\d)", text)
    if parts is None:
        names = any(month in text.lower() for month in MONTHS)
        return "a date with the name of a month" if names else "no date that can be read"
    first, mark, second = int(parts[1]), parts[2], int(parts[3])
    if first > 12:
        return f"a date as day{mark}month{mark}year"
    if second > 12:
        return f"a date as month{mark}day{mark}year"
    return f"a date as day{mark}month{mark}year or month{mark}day{mark}year"


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
