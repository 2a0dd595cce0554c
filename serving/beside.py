"""What lies beside the vectors of an export: tables for other stores, records, digests."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from ..fileio import atomic_path

ROWS_AT_ONCE = 65_536


def record_name(modality: str) -> str:
    """Name of the file that says which encoder made the features of a modality."""
    return f"{modality}_feat.json"


def write_parquet(file: Path, ids: np.ndarray, vectors: Tensor) -> None:
    """Write a table of `id` (text) and `vector` (list of float32), in groups of rows.

    Args:
        file: where to.
        ids: `(n,)` original ids.
        vectors: `(n, dim)` float32.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32()))])
    dim = vectors.shape[1]
    with atomic_path(file) as path, parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, len(ids), ROWS_AT_ONCE):
            block = vectors[first : first + ROWS_AT_ONCE].contiguous().numpy()
            starts = pa.array(np.arange(0, block.size + 1, dim, dtype=np.int32))
            columns = [
                pa.array([str(one) for one in ids[first : first + ROWS_AT_ONCE]], pa.string()),
                pa.ListArray.from_arrays(starts, pa.array(block.ravel())),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def copy_records(data: Path, modalities: Iterable[str], out: Path) -> list[str]:
    """Copy the records of encoders that `crossalign extract` left beside features.

    Args:
        data: data folder, or a file in it.
        modalities: whose features were trained with.
        out: folder to copy to.

    Returns:
        The modalities that have one.
    """
    folder = data if data.is_dir() else data.parent
    found = [name for name in modalities if (folder / record_name(name)).is_file()]
    for name in found:
        shutil.copyfile(folder / record_name(name), out / record_name(name))
    return found


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in `folder`, by name."""
    return {file.name: _sha256(file) for file in sorted(folder.iterdir()) if file.is_file()}


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
