"""Item content beside the interactions: feature tables and ready item-item graphs.

Files are named after the modality: `<modality>_feat.npy`, `.npz` or `.parquet`, and
`<modality>_knn*.npz`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..errors import DataError
from .dataset import ItemGraph
from .frames import read_frame, tidy_ids
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

    A `.npy` table holds the item with integer id r in row r, and so do ready graphs. An `.npz`
    (arrays `ids` and `features`) or a Parquet table (first column the ids, the others numbers, or
    one column of lists) is keyed by item id; items it lacks are marked missing.

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
            graph = _read_graph(graph_files[modality], item_ids, all_items)
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
        values = _table(path, load_array(path))
        rows = _integer_rows(path, item_ids, len(values), exact=all_items)
    else:
        index, values = read_keyed(path)
        rows = _keyed_rows(path, item_ids, index)
    if values.dtype == np.float16:
        content.notes.append(f"{modality}: stored as float16, widened to float32")
    absent = rows < 0
    table = values[np.maximum(rows, 0)].astype(np.float32)  # widen before any arithmetic
    table[absent] = 0
    content.features[modality] = torch.from_numpy(table)
    if absent.any():
        content.missing[modality] = torch.from_numpy(absent)


def read_keyed(path: Path) -> tuple[pd.Index, np.ndarray]:
    """Item ids as text, each once, and features `(n, d)` of an `.npz` or Parquet file.

    Raises:
        DataError: the file is broken, or has an id twice.
    """
    ids, values = _keyed_npz(path) if path.suffix == ".npz" else _keyed_parquet(path)
    table, index = _table(path, values), pd.Index(tidy_ids(ids).astype(str))
    if not index.is_unique:
        raise DataError(f"{path}: item id {index[index.duplicated()][0]} stands twice; keep one")
    return index, table


def _table(path: Path, values: np.ndarray) -> np.ndarray:
    """`values`, if they are a table of numbers."""
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: is {values.dtype} of shape {values.shape}; give a table of numbers, "
            "one row an item"
        )
    return values


def load_array(path: Path) -> np.ndarray:
    """One array from a `.npy` file, or a `DataError`; pickled objects are refused."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(
            f"{path}: not a readable .npy array of numbers; save it again with numpy.save"
        ) from error


def load_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The named arrays of an `.npz` file, or a `DataError`; pickled objects are refused."""
    try:
        with np.load(path, allow_pickle=False) as file:
            absent = [name for name in names if name not in file]
            if absent:
                raise DataError(f"{path}: lacks the array '{absent[0]}'; needs {', '.join(names)}")
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, OSError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: not a readable .npz of numbers or strings; save it again with numpy.savez, "
            "and ids as strings: ids.astype(str), not Python objects"
        ) from error


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
            "id r); add rows, or use an .npz with ids and features"
        )
    return item_ids


def _refuse_text_ids(path: Path, item_ids: np.ndarray) -> None:
    if item_ids.dtype.kind != "i":
        raise DataError(
            f"{path}: row numbers stand for item ids, but the ids are strings such as "
            f"'{item_ids[0]}'; use an .npz with ids and features, or Parquet"
        )


def _keyed_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    arrays = load_arrays(path, ("ids", "features"))
    ids, values = arrays["ids"], arrays["features"]
    if ids.ndim != 1:
        raise DataError(f"{path}: ids have shape {ids.shape}; give one id a row")
    if values.shape[:1] != ids.shape:
        raise DataError(
            f"{path}: {ids.size} ids for features of shape {values.shape}; give one each"
        )
    return ids, values


def _keyed_parquet(path: Path) -> tuple[np.ndarray, np.ndarray]:
    frame = read_frame(path)
    ids, rest = frame.iloc[:, 0].to_numpy(), frame.iloc[:, 1:]
    if rest.shape[1] == 1 and rest.dtypes.iloc[0].kind == "O":  # one column of lists
        widths = rest.iloc[:, 0].map(np.size)
        if widths.nunique() != 1:
            row = int(np.flatnonzero(widths != widths.iloc[0])[0])
            raise DataError(f"{path}: the list in row {row} has another length than row 0; mend it")
        return ids, np.stack([np.asarray(row) for row in rest.iloc[:, 0]])
    return ids, rest.to_numpy()


def _keyed_rows(path: Path, item_ids: np.ndarray, index: pd.Index) -> np.ndarray:
    """Row of each item in a keyed file, -1 where it has none."""
    rows = index.get_indexer(pd.Index(item_ids.astype(str)))
    if (rows < 0).all():
        raise DataError(
            f"{path}: none of its ids, such as '{index[0]}', is an item of the interactions, such "
            f"as '{item_ids[0]}'; check the ids"
        )
    return rows


def _read_graph(path: Path, item_ids: np.ndarray, all_items: bool) -> ItemGraph:
    """A ready graph, its ends renumbered; edges that touch items left out are left out."""
    _refuse_text_ids(path, item_ids)
    arrays = load_arrays(path, ("row", "col", "cos"))
    row, col, cos = _checked_edges(path, arrays)
    ends = np.concatenate([row, col])
    n_rows = max(int(ends.max(initial=-1)), int(item_ids.max())) + 1
    if "shape" in arrays:
        if arrays["shape"].shape != (2,):
            raise DataError(f"{path}: shape is {arrays['shape']}; give two numbers")
        n_rows = int(arrays["shape"][0])
    _integer_rows(path, item_ids, n_rows, exact=all_items)
    if ends.max(initial=0) >= n_rows or ends.min(initial=0) < 0:
        raise DataError(f"{path}: an item id is outside 0 .. {n_rows - 1}; build the graph again")
    number = np.full(n_rows, -1)
    number[item_ids] = np.arange(len(item_ids))
    edges = np.stack([number[row], number[col]])
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
