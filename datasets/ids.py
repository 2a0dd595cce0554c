"""Ids of users and items: what the user wrote, from any column of any file.

Whole numbers are one id however they are written: `7`, `"7"`, `7.0`, as signed, unsigned or
floating numbers. If every id of a column is one, they are numbers; else all stay text, exactly as
written (`007` is text) but for spaces around them, which no one sees and which are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, shorten
from ..tensors.later import pa, pc, pd

SPACE = " \t\n\v\f\r\u00a0"
"""Left out around ids."""
WHOLE = r"^-?(0|[1-9][0-9]*)(\.0+)?$"
NUMERIC = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
MANTISSA = {16: 11, 32: 24, 64: 53}
"""Width of a floating type -> bits of the whole numbers that it holds without rounding."""


@dataclass(frozen=True)
class Ids:
    """A column of ids, each name held once.

    Attributes:
        names: `(m,)` distinct and sorted: int64, uint64, or an object array of strings.
        codes: `(n,)` int64, the place in `names` of every row's id.
    """

    names: np.ndarray
    codes: np.ndarray

    def take(self, rows: np.ndarray) -> Ids:
        """The ids of some rows, by number or mask; names of no row are left out."""
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        return Ids(self.names[used], codes)


def tidy_ids(
    values: Any, where: Callable[[int], str] = "row {}".format, column: str = "the id"
) -> Ids:
    """Ids out of a column of any type: whole numbers, strings, bytes, categories.

    Args:
        values: `(n,)` array of NumPy or Arrow, or a sequence.
        where: says where a row stands, for messages.
        column: name of the column, for messages.

    Raises:
        DataError: an id is missing or cannot be one, with its row and value.
    """
    try:
        array = _arrow(values)
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        row = _first_that_cannot_be_written(values)
        raise DataError(f"{where(row)}: {column} is no id ({error}); mend it") from error
    distinct, codes = _distinct(array)
    checks = _Checks(codes, distinct, where, column)
    text = pc.utf8_trim(_text(distinct, checks), characters=SPACE)
    empty = pc.fill_null(pc.equal(text, ""), True).to_numpy(zero_copy_only=False)
    checks.refuse_missing(empty)
    text = pc.fill_null(text, "0")  # names of no row
    odd = pc.match_substring(text, "\0").to_numpy(zero_copy_only=False)
    checks.refuse(odd, "holds a NUL character; leave it out")
    names, places = _sorted_names(text, checks)
    return Ids(names, places[codes])


def id_texts(names: np.ndarray) -> np.ndarray:
    """Names as an object array of strings: no row is made as long as the longest."""
    return np.array([str(name) for name in names.tolist()], dtype=object)


def rows_of_ids(index: pd.Index, asked: Sequence[str] | np.ndarray) -> np.ndarray:
    """Rows `(n,)` in an index of texts, -1 for unknown ones; `1.0` and ` 1` find `1`."""
    rows = index.get_indexer(pd.Index(list(asked), dtype=object))
    lost = np.flatnonzero(rows < 0)
    if len(lost):
        plain = [_plain(asked[int(row)]) for row in lost]
        rows[lost] = index.get_indexer(pd.Index(plain, dtype=object))
    return rows.astype(np.int64)


def _plain(text: str) -> str:
    text = text.strip(SPACE)
    whole, dot, zeros = text.partition(".")
    same = dot and zeros and not zeros.strip("0") and whole.removeprefix("-").isdecimal()
    return whole if same else text


class _Checks:
    """Refuses distinct values by the first row that has one of them."""

    def __init__(
        self, codes: np.ndarray, distinct: pa.Array, where: Callable[[int], str], column: str
    ) -> None:
        self.codes, self.distinct, self.where, self.column = codes, distinct, where, column

    def refuse(self, bad: np.ndarray, reason: str) -> None:
        """Raise `DataError` if a row has a value of the mask `bad`, `(m,)`."""
        if bad.any() and bad[self.codes].any():
            row = int(bad[self.codes].argmax())
            value = shorten(repr(self.distinct[int(self.codes[row])].as_py()))
            raise DataError(f"{self.where(row)}: {self.column} is {value}: {reason}")

    def refuse_missing(self, empty: np.ndarray) -> None:
        """Raise `DataError` if a row has no id."""
        rows = np.flatnonzero((self.codes < 0) | np.append(empty, True)[self.codes])
        if len(rows):
            raise DataError(
                f"{self.where(int(rows[0]))}: {self.column} is empty ({len(rows)} such row(s)); "
                "fill it in or remove the row"
            )


def _arrow(values: Any) -> pa.Array:
    """One Arrow array of `values`; text with 64-bit offsets, so that no length is too much."""
    if isinstance(values, pa.ChunkedArray):
        values = values.unify_dictionaries() if pa.types.is_dictionary(values.type) else values
        if pa.types.is_string(values.type):
            values = values.cast(pa.large_string())
        return values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False))
    if isinstance(values, np.ndarray) and values.dtype.kind not in "USO":
        raise TypeError(f"values of type {values.dtype} are none")
    if broken_text(values).any():
        raise ValueError("its letters are none")
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if {type(value) for value in values} <= {str, bytes}:
        return pa.array([v.decode() if isinstance(v, bytes) else v for v in values], _TEXT)
    return pa.array([_written(value) for value in values], _TEXT)


_TEXT = "large_string"
"""Arrow's name of the type."""


def _written(value: Any) -> str | None:
    """A Python value as text; None where it is missing. Raises `TypeError` for no id."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, bool) or not isinstance(value, str | int | float | np.number):
        raise TypeError(f"{shorten(repr(value))} is a {type(value).__name__}")
    if isinstance(value, float | np.floating):
        number = float(value)
        if abs(number) >= 2**53 or not number.is_integer():
            raise TypeError(f"{value!r} is no whole number, or too large to be exact")
        return str(int(number))
    return str(value)


def broken_text(values: Any) -> np.ndarray:
    """`(n,)` bool: rows of NumPy text with numbers that stand for no letter; Python would crash."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "U" or not values.size:
        return np.zeros(1, dtype=bool)
    native = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    letters = native.view(np.uint32).reshape(len(values), -1)
    odd = (letters > 0x10FFFF) | ((letters >= 0xD800) & (letters < 0xE000))
    return np.asarray(odd.any(axis=1))


def _first_that_cannot_be_written(values: Any) -> int:
    broken = broken_text(values)
    if broken.any():
        return int(broken.argmax())
    for row in range(len(values)):
        try:
            (_written(values[row]) or "").encode()
        except (TypeError, ValueError):  # no text, or none that NumPy can make of its bytes
            return row
    return 0


def _distinct(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Values, each once or nearly so, and `(n,)` the place of every row's, -1 where missing."""
    if not pa.types.is_dictionary(array.type):
        if pa.types.is_nested(array.type) or pa.types.is_null(array.type):
            missing = array.is_null().to_numpy(zero_copy_only=False)
            return array, np.where(missing, -1, np.arange(len(array)))
        array = array.dictionary_encode()
    codes = pc.fill_null(array.indices.cast(pa.int64()), -1).to_numpy()
    return array.dictionary, codes


def _text(values: pa.Array, checks: _Checks) -> pa.Array:
    """Distinct values as text; what cannot be an id is refused."""
    kind, every = values.type, np.ones(len(values), dtype=bool)
    if pa.types.is_floating(kind):
        return _text_of_floats(values, checks)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _text_of_bytes(values, checks)
    if pa.types.is_fixed_size_binary(kind):
        return _text_of_bytes(values.cast(pa.binary()), checks)
    written = pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    if not (written or str(kind) in ("string", "large_string", "string_view")):
        checks.refuse(every, f"a value of type {kind} is no id; write whole numbers or strings")
    return values.cast(_TEXT)


def _text_of_floats(values: pa.Array, checks: _Checks) -> pa.Array:
    exact = 2 ** MANTISSA[values.type.bit_width]
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    missing = np.isnan(numbers)
    checks.refuse(~missing & (numbers != np.floor(numbers)), "no whole number; mend it")
    reason = f"a {values.type} holds such a number no longer exactly; write ids as whole numbers"
    checks.refuse(~missing & ~(np.abs(numbers) <= exact), f"{reason} or strings")
    whole = np.where(missing, 0, numbers).astype(np.int64)
    return pa.array(whole, mask=missing).cast(_TEXT)


def _text_of_bytes(values: pa.Array, checks: _Checks) -> pa.Array:
    try:
        return values.cast(pa.string()).cast(_TEXT)
    except pa.ArrowInvalid:
        checks.refuse(np.array([not _is_text(value) for value in values.to_pylist()]), "no UTF-8")
        raise


def _is_text(value: bytes | None) -> bool:
    try:
        return value is None or isinstance(value.decode(), str)
    except UnicodeDecodeError:
        return False


def _sorted_names(text: pa.Array, checks: _Checks) -> tuple[np.ndarray, np.ndarray]:
    """Distinct names, sorted, and `(m,)` the place of every text among them."""
    if pc.all(pc.match_substring_regex(text, WHOLE)).as_py():
        text = pc.replace_substring_regex(text, r"\.0+$", "")
        for kind in (pa.int64(), pa.uint64()):
            try:
                return np.unique(text.cast(kind).to_numpy(), return_inverse=True)
            except pa.ArrowInvalid:  # out of its range
                continue
    elif pc.all(pc.match_substring_regex(text, NUMERIC)).as_py():
        fraction = pc.invert(pc.match_substring_regex(text, WHOLE)).to_numpy(zero_copy_only=False)
        checks.refuse(fraction, "no whole number among numbers; mend it")
    encoded = text.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    names = encoded.dictionary.to_numpy(zero_copy_only=False)[order]
    return names, place[encoded.indices.to_numpy()]
