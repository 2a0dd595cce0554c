"""Tables on disk: CSV, TSV and Parquet, and clean columns out of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import DataError
from .options import DataOptions

SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t"}
SUFFIXES = (".csv", ".tsv", ".parquet")
TIME_NAMES = ("timestamp", "time", "date", "datetime")


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table; text files give strings in every column, Parquet keeps its types.

    Raises:
        DataError: the file is missing, empty, or not a table of its suffix.
    """
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            separator = SEPARATORS[path.suffix]
            frame = pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                encoding="utf-8-sig",
                keep_default_na=False,  # an item may be called NA
                na_values=[""],
            )
    except OSError as error:
        if error.strerror is None:  # pyarrow raises OSError for a damaged Parquet file
            raise DataError(f"{path}: damaged Parquet file; write it again") from error
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, pd.errors.ParserError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: is no {path.suffix[1:]} table ({reason}); mend it") from error
    if not isinstance(frame.index, pd.RangeIndex) and path.suffix != ".parquet":
        raise DataError(
            f"{path}: rows have more fields than the header; name every column, or remove the "
            "separators at the ends of rows"
        )
    if frame.empty:
        raise DataError(f"{path}: has no rows; give at least one interaction")
    return frame


def line_of(path: Path, row: int) -> str:
    """Where row `row` (from 0) stands in the file, for messages."""
    return f"row {row}" if path.suffix == ".parquet" else f"line {row + 2}"  # header is line 1


def integer_column(path: Path, frame: pd.DataFrame, column: str) -> np.ndarray:
    """`(n,)` int64 from column `column`. Raises `DataError` at the first other value."""
    numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~(np.abs(numbers) < 2**53) | (numbers != np.floor(numbers)))
    if bad.size:
        value = frame[column].iloc[bad[0]]
        raise DataError(
            f"{path}, {line_of(path, bad[0])}: {column} is {value!r}, not a whole number; mend it"
        )
    return numbers.astype(np.int64)


def number_column(path: Path, frame: pd.DataFrame, column: str) -> np.ndarray:
    """`(n,)` float64 from column `column`. Raises `DataError` at the first non-finite value."""
    numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        value = frame[column].iloc[bad[0]]
        raise DataError(
            f"{path}, {line_of(path, bad[0])}: {column} is {value!r}, not a number; mend it"
        )
    return numbers


def id_column(path: Path, frame: pd.DataFrame, column: str) -> np.ndarray:
    """`(n,)` ids: int64 where all are whole numbers, else strings.

    `7` and `"7"` are the same id; `"007"` is a string.

    Raises:
        DataError: an id is empty.
    """
    values = frame[column]
    empty = np.flatnonzero((values.isna() | (values.astype(str).str.strip() == "")).to_numpy())
    if empty.size:
        raise DataError(
            f"{path}, {line_of(path, empty[0])}: {column} is empty; fill it in or remove the row"
        )
    return tidy_ids(values.to_numpy())


def tidy_ids(values: np.ndarray) -> np.ndarray:
    """Ids as int64 where every one is written as a whole number, else as strings."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    text = values.astype(str)
    unique = np.unique(text)
    whole = all(
        value.removeprefix("-").isdecimal() and str(int(value)) == value for value in unique
    )
    if whole and all(len(value) < 19 for value in unique):
        return text.astype(np.int64)
    return text


def find_column(
    path: Path, frame: pd.DataFrame, asked: str | None, usual: Sequence[str], option: str
) -> str:
    """The column asked for, else the first one with a usual name.

    Raises:
        DataError: there is no such column; the message names the option that chooses it.
    """
    columns = [str(column) for column in frame.columns]
    found = asked or usual_column(frame, usual)
    if found not in columns:
        missing = f"no column '{asked}'" if asked else f"no column called {usual[0]}"
        raise DataError(
            f"{path}: has {missing}; set {option} to one of its columns: {', '.join(columns)}"
        )
    return found


def usual_column(frame: pd.DataFrame, usual: Sequence[str]) -> str | None:
    """The first column with a usual name; case and punctuation do not count."""
    columns = [str(column) for column in frame.columns]
    plain = {"".join(filter(str.isalnum, column)).lower(): column for column in reversed(columns)}
    return next((plain[name] for name in usual if name in plain), None)


def time_column(path: Path, frame: pd.DataFrame, options: DataOptions) -> np.ndarray | None:
    """`(n,)` float64 times for a chronological split; None where the split needs none."""
    if options.split != "chronological":
        return None
    column = find_column(path, frame, options.time_column, TIME_NAMES, "data.time_column")
    if pd.to_numeric(frame[column], errors="coerce").isna().all():  # dates, as in ISO 8601
        dates = pd.to_datetime(frame[column], errors="coerce", utc=True, format="ISO8601")
        if not dates.isna().any():
            start = pd.Timestamp(0, tz="UTC")
            return ((dates - start) / pd.Timedelta(seconds=1)).to_numpy(dtype=np.float64)
    return number_column(path, frame, column)
