"""Times of interactions: numbers or dates, as a column of a table has them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..errors import DataError
from ..tensors.later import pa, pc, pd
from .frames import Frame, find_column, floats, is_text, refuse
from .ids import SPACE
from .options import DataOptions
from .splits import BY_TIME

TIME_NAMES = ("timestamp", "time", "date", "datetime", "unixreviewtime")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


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
    if is_text(column.type):
        column = pc.utf8_trim(column, characters=SPACE)
        missing = np.asarray(pc.fill_null(pc.equal(column, ""), True))
    refuse(frame, name, np.flatnonzero(missing), "no time; fill it in or remove the row")
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
    if number.all() or not is_text(column.type):
        refuse(frame, name, np.flatnonzero(~number), "not a number; mend it")
        return numbers
    text = pd.Series(np.asarray(column, dtype=object))
    try:
        dates = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
    except (ValueError, OverflowError) as error:
        raise DataError(f"{frame.file}: {name} has dates that cannot be read ({error})") from error
    odd = dates.isna().to_numpy()
    if number.sum() >= (~odd).sum():
        refuse(frame, name, np.flatnonzero(~number), "not a number; mend it")
    if odd.any():
        form = date_form(str(text[int(np.flatnonzero(odd)[0])]))
        reason = f"{form}; write it as 2024-01-31 or 2024-01-31T23:59:59"
        refuse(frame, name, np.flatnonzero(odd), reason)
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
