"""Content of items that are not in the catalogue, from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..datasets.content import read_keyed
from ..errors import DataError

SUFFIXES = (".npz", ".parquet")


class NewItems(NamedTuple):
    """Items and their content, as `Recommender.with_items` takes them."""

    ids: list[str]
    features: dict[str, Tensor]
    """modality -> `(n, d_m)`; zeros where missing"""
    missing: dict[str, Tensor]
    """modality -> `(n,)` bool"""


def read_new_items(files: Mapping[str, str | Path]) -> NewItems:
    """Features of new items, keyed by id; an item need not be in every file.

    Args:
        files: modality -> `.npz` (arrays `ids` and `features`) or Parquet file (first column the
            ids), as in a data folder.

    Raises:
        DataError: a file is missing or broken, has an id twice, or a number that is not finite.
    """
    tables = {name: _read(Path(file)) for name, file in files.items()}
    ids = pd.Index([], dtype=object).append([index for index, _ in tables.values()]).unique()
    features, missing = {}, {}
    for name, (index, values) in tables.items():
        rows = index.get_indexer(ids)
        table = torch.from_numpy(values[np.maximum(rows, 0)])
        missing[name] = torch.from_numpy(rows < 0)
        features[name] = table.masked_fill(missing[name].unsqueeze(1), 0.0)
    return NewItems(list(ids), features, missing)


def _read(path: Path) -> tuple[pd.Index, np.ndarray]:
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataError(
            f"{path}: no such file; give content of new items as {' or '.join(SUFFIXES)}"
        )
    index, values = read_keyed(path)
    with np.errstate(over="ignore"):  # too large is infinite, and refused
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise DataError(
            f"{path}: the features of item '{index[row]}' are not finite; mend or leave it out"
        )
    return index, values
