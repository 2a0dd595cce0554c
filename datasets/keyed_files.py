"""Feature tables that are keyed by item id: `.npz` and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..tensors.later import pa, pc, pd
from .arrays import load_arrays
from .frames import LEVEL, Frame, plain_name, read_frame
from .ids import Ids, id_texts, tidy_ids

ID_NAMES = (
    "item", "itemid", "iid", "itemno", "asin", "productid", "movieid", "videoid", "id", "ids",
)  # fmt: skip


def read_keyed(path: Path) -> tuple[pd.Index, np.ndarray]:
    """Item ids as text, each once, and features `(n, d)` of an `.npz` or Parquet file.

    An `.npz` has arrays `ids` and `features`. A Parquet table has ids in a column with a usual
    name, else in its index, else in its only column of strings, else in its first one if that is of
    whole numbers; the others are numbers, or one column of lists.

    Raises:
        DataError: the file is broken, or has an id twice.
    """
    ids, values = _keyed_npz(path) if path.suffix == ".npz" else _keyed_parquet(path)
    twice = np.flatnonzero(np.bincount(ids.codes, minlength=len(ids.names)) > 1)
    if twice.size:
        raise DataError(f"{path}: item id {ids.names[twice[0]]} stands twice; keep one")
    if not len(ids.codes):
        raise DataError(f"{path}: has no rows; give one row an item")
    return pd.Index(id_texts(ids.names)[ids.codes], dtype=object), require_table(path, values)


def require_table(path: Path, values: np.ndarray) -> np.ndarray:
    """`values`, if they are a table of numbers; else `DataError`."""
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: is {values.dtype} of shape {values.shape}; give a table of numbers, "
            "one row an item"
        )
    return values


def _keyed_npz(path: Path) -> tuple[Ids, np.ndarray]:
    arrays = load_arrays(path, ("ids", "features"))
    ids, values = arrays["ids"], arrays["features"]
    if ids.ndim != 1:
        raise DataError(f"{path}: ids have shape {ids.shape}; give one id a row")
    if values.shape[:1] != ids.shape:
        raise DataError(
            f"{path}: {ids.size} ids for features of shape {values.shape}; give one each"
        )
    return tidy_ids(ids, f"{path}, row {{}}".format, "its id"), values


def _keyed_parquet(path: Path) -> tuple[Ids, np.ndarray]:
    frame = read_frame(path)
    key = _id_column(frame)
    parts = {
        name: column
        for name, column in frame.columns.items()
        if name != key and not (name in frame.index and name.startswith(LEVEL))
    }
    ids = tidy_ids(frame.columns[key], frame.where, "its id" if key.startswith(LEVEL) else key)
    for name, column in parts.items():
        if pa.types.is_nested(column.type):
            if len(parts) > 1:
                raise DataError(f"{path}: column '{name}' holds lists; give it alone beside ids")
            return ids, _lists(path, name, column)
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise DataError(
                f"{path}: column '{name}' is of type {column.type}; give numbers beside the column "
                f"of ids, '{key}'"
            )
    if not parts:
        raise DataError(f"{path}: has no column beside the ids, '{key}'; give features")
    columns = [np.asarray(column) for column in parts.values()]
    return ids, np.column_stack(columns)


def _id_column(frame: Frame) -> str:
    """The column of ids of a feature table."""
    named = [name for name in frame.columns if plain_name(name) in ID_NAMES]
    if named:
        return named[0]
    index = frame.index[0] if frame.index else None
    if index and not index.startswith(LEVEL):
        return index
    texts = [name for name, column in frame.columns.items() if _may_be_text(column.type)]
    if len(texts) == 1:  # a nameless index is often what filtering rows has left behind
        return texts[0]
    if index:
        return index
    first = next(iter(frame.columns))
    if pa.types.is_integer(frame.columns[first].type) and not first.isdecimal():
        return first
    raise DataError(
        f"{frame.file}: no column of item ids is found; call it item, or give ids as the index"
    )


def _may_be_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _may_be_text(kind.value_type)
    return any(word in str(kind) for word in ("string", "binary")) and not pa.types.is_nested(kind)


def _lists(path: Path, name: str, column: Any) -> np.ndarray:
    """`(n, d)` from lists of equal length."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0)
    if "list" not in str(column.type):
        raise DataError(f"{path}: column '{name}' is of type {column.type}; give lists of numbers")
    widths = np.asarray(pc.fill_null(pc.list_value_length(column), -1), dtype=np.int64)
    odd = np.flatnonzero((widths != widths[0]) | (widths < 0))
    if odd.size:
        row = int(odd[0])
        raise DataError(f"{path}: the list in row {row} has another length than row 0; mend it")
    values = column.flatten()
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise DataError(f"{path}: column '{name}' holds lists of {values.type}; give numbers")
    return np.asarray(values).reshape(len(widths), int(widths[0]))
