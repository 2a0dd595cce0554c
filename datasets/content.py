"""Item content beside the interactions: feature tables and ready item-item graphs.

Files are named after the modality: `<modality>_feat.npy`, `.npz` or `.parquet`, and
`<modality>_knn*.npz`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, shorten
from ..tensors.later import pd
from .arrays import load_array, load_arrays
from .dataset import ItemGraph
from .ids import id_texts, rows_of_ids
from .keyed_files import read_keyed, require_table
from .options import DataOptions

FEATURE_SUFFIXES = (".npy", ".npz", ".parquet")


@dataclass
class Content:
    """What was found: fields of `Dataset` of the same names."""

    features: dict[str, Tensor] = field(default_factory=dict)
    missing: dict[str, Tensor] = field(default_factory=dict)
    item_graphs: dict[str, ItemGraph] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def fields(self) -> dict[str, Any]:
        """The fields of a `Dataset` that are filled from content."""
        return {**vars(self), "notes": tuple(self.notes)}


def read_content(
    folder: Path, item_ids: np.ndarray, options: DataOptions, *, all_items: bool
) -> Content:
    """Read the features and ready graphs in `folder`.

    A `.npy` table holds the item with integer id r in row r, and so do ready graphs. Files of
    `read_keyed` are keyed by item id; items they lack are marked missing.

    Args:
        folder: where the files lie.
        item_ids: `(n_items,)` original ids of the items kept.
        options: `modalities` and `item_graphs` are used.
        all_items: whether `item_ids` are all items there are, so that `.npy` tables and graphs
            of another size are a mistake.

    Raises:
        DataError: a file is broken or does not fit the items, or a modality asked for is missing.
    """
    feature_files = _by_modality(folder, "_feat", FEATURE_SUFFIXES)
    graph_files = _by_modality(folder, "_knn", (".npz",)) if options.item_graphs else {}
    found = sorted({*feature_files, *graph_files})
    wanted = found if options.modalities is None else options.modalities
    content = Content()
    for modality in wanted:
        if modality not in found:
            raise DataError(
                f"{folder}: no modality '{modality}' ({modality}_feat.npy or {modality}_knn*.npz); "
                f"found: {', '.join(found) or 'none'}"
            )
        if modality in feature_files:
            path = feature_files[modality]
            read_features(content, modality, path, item_ids, all_items=all_items)
        if modality in graph_files:
            graph = _read_graph(content, graph_files[modality], item_ids, all_items)
            content.item_graphs[modality] = graph
    return content


def _by_modality(folder: Path, mark: str, suffixes: Iterable[str]) -> dict[str, Path]:
    """Modality -> its one file `<modality><mark>*<suffix>`."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        modality, found, rest = path.stem.rpartition(mark)
        if not found or not modality or path.suffix not in suffixes or path.name.startswith("."):
            continue
        if mark == "_feat" and rest:
            continue
        if modality in files:
            raise DataError(f"{folder}: both {files[modality].name} and {path.name}; keep one")
        files[modality] = path
    return files


def read_features(
    content: Content, modality: str, path: Path, item_ids: np.ndarray, *, all_items: bool
) -> None:
    """Put the table in `path`, of any layout of `read_content`, into `content` as `modality`.

    Raises:
        DataError: the file is broken or does not fit the items.
    """
    if path.suffix == ".npy":
        values = require_table(path, load_array(path))
        rows = _integer_rows(path, item_ids, len(values), exact=all_items)
        if not all_items:
            content.notes.extend(_shifted(path, item_ids, bool(values[:1].any())))
    else:
        index, values = read_keyed(path)
        rows = _keyed_rows(path, item_ids, index)
    if values.dtype == np.float16:
        content.notes.append(f"{modality}: stored as float16, widened to float32")
    absent = rows < 0
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused
        table = values[np.maximum(rows, 0)].astype(np.float32)  # widen before any arithmetic
    table[absent] = 0
    _refuse_not_finite(f"features of '{modality}'", path, table, rows, item_ids)
    content.features[modality] = torch.from_numpy(table)
    if absent.any():
        content.missing[modality] = torch.from_numpy(absent)


def _refuse_not_finite(
    what: str, path: Path, table: np.ndarray, rows: np.ndarray, item_ids: np.ndarray
) -> None:
    """Name the first row of the file that is not finite, and the item whose it is."""
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if bad.size:
        kind = "NaN" if np.isnan(table[bad[0]]).any() else "an infinite value"
        raise DataError(
            f"{what}: {kind} in row {rows[bad[0]]} of {path.name}, item {item_ids[bad[0]]} "
            f"({bad.size} such row(s)); mend the file or leave these rows out as missing"
        )


def _shifted(path: Path, item_ids: np.ndarray, filled: bool) -> Iterable[str]:
    """A warning where row 0 holds something and no item has the id 0."""
    first = int(item_ids.min())
    if first > 0 and filled:
        yield (
            f"{path.name}: row r is item id r, and ids start at {first}: row 0 is of no item. If "
            "its rows are in the order of the items, each item has the row of the next one; use an "
            ".npz with ids"
        )


def _integer_rows(path: Path, item_ids: np.ndarray, n_rows: int, *, exact: bool) -> np.ndarray:
    """Row of each item in a file whose row number is the item id."""
    _refuse_text_ids(path, item_ids)
    if exact and n_rows != len(item_ids):
        raise DataError(
            f"{path}: {n_rows} rows for {len(item_ids)} items; give one row for each item id"
        )
    outside = np.flatnonzero((item_ids < 0) | (item_ids >= n_rows))
    if outside.size:
        raise DataError(
            f"{path}: {n_rows} rows, but item id {item_ids[outside[0]]} has none (row r is item "
            "id r, from 0); add rows, or use an .npz with ids and features"
        )
    return item_ids


def _refuse_text_ids(path: Path, item_ids: np.ndarray) -> None:
    if item_ids.dtype.kind != "i":
        raise DataError(
            f"{path}: row numbers stand for item ids, but the ids are strings such as "
            f"'{shorten(str(item_ids[0]))}'; use an .npz with ids and features, or Parquet"
        )


def _keyed_rows(path: Path, item_ids: np.ndarray, index: pd.Index) -> np.ndarray:
    """Row of each item in a keyed file, -1 where it has none."""
    rows = rows_of_ids(index, id_texts(item_ids))
    if (rows < 0).all():
        raise DataError(
            f"{path}: none of its ids, such as '{shorten(index[0])}', is an item of the "
            f"interactions, such as '{shorten(str(item_ids[0]))}'; check the ids"
        )
    return rows


def _read_graph(content: Content, path: Path, item_ids: np.ndarray, all_items: bool) -> ItemGraph:
    """A ready graph, its ends renumbered; edges that touch items left out are left out."""
    _refuse_text_ids(path, item_ids)
    arrays = load_arrays(path, ("row", "col", "cos"), optional=("shape",))
    row, col, cos = _checked_edges(path, arrays)
    ends = np.concatenate([row, col]).astype(np.int64)
    n_rows = max(int(ends.max(initial=-1)), int(item_ids.max())) + 1
    if "shape" in arrays:
        shape = arrays["shape"]
        if shape.shape != (2,) or shape.dtype.kind not in "iu":
            raise DataError(f"{path}: shape is {shorten(str(shape))}; give two numbers")
        n_rows = int(shape[0])
    _integer_rows(path, item_ids, n_rows, exact=all_items)
    if ends.max(initial=0) >= n_rows or ends.min(initial=0) < 0:
        raise DataError(f"{path}: an item id is outside 0 .. {n_rows - 1}; build the graph again")
    if not all_items:
        content.notes.extend(_shifted(path, item_ids, bool((ends == 0).any())))
    order = np.argsort(item_ids)
    place = np.minimum(np.searchsorted(item_ids, ends, sorter=order), len(item_ids) - 1)
    number = np.where(item_ids[order][place] == ends, order[place], -1)
    edges = number.reshape(2, -1)
    kept = (edges >= 0).all(axis=0)
    return ItemGraph(
        torch.from_numpy(edges[:, kept]), torch.from_numpy(cos[kept].astype(np.float32))
    )


def _checked_edges(
    path: Path, arrays: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row, col, cos = arrays["row"], arrays["col"], arrays["cos"]
    if row.dtype.kind not in "iu" or col.dtype.kind not in "iu" or cos.dtype.kind != "f":
        raise DataError(f"{path}: row and col must be whole numbers and cos floating point")
    if row.ndim != 1 or not row.shape == col.shape == cos.shape:
        raise DataError(
            f"{path}: row {row.shape}, col {col.shape} and cos {cos.shape} must be equally long"
        )
    return row, col, cos
