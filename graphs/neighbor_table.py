"""Neighbour lists as a table that any program reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..fileio import atomic_path, write_csv
from ..tensors.later import pd

TABLE_SUFFIXES = (".csv", ".parquet")
COLUMNS = ("item", "rank", "neighbour", "score")
BLOCK = 2**16
"""Items whose neighbours are written at a time."""


def write_neighbor_table(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `neighbor_table` to a `.csv` or `.parquet` file, a block of items at a time.

    Raises:
        RunError: the file cannot be written.
    """
    write = _write_csv if file.suffix == ".csv" else _write_parquet
    with atomic_path(file) as path:
        write(path, neighbor_table(arrays))


def neighbor_table(arrays: Mapping[str, np.ndarray], block: int = BLOCK) -> Iterator[pd.DataFrame]:
    """One row for each neighbour: item, rank from 1, neighbour, score.

    Items, and their neighbours, go by the ids of the data files, and by rows where the lists do not
    know those; the score is what neighbours are ranked by, and the number of common users where the
    lists do not say. Items come in the order of their rows, their neighbours best first; an item
    without neighbours has no row.

    Args:
        arrays: `ids` and `counts`, and `item_ids` and `scores` where known, see `Neighbors.arrays`.
        block: items whose neighbours make one part.
    """
    names = arrays.get("item_ids", np.arange(len(arrays["ids"])))
    scores = arrays.get("scores", arrays["counts"])
    for start in range(0, max(1, len(names)), block):
        ids = arrays["ids"][start : start + block]
        row, place = np.nonzero(ids >= 0)
        columns = (
            names[start + row],
            place + 1,
            names[ids[row, place]],
            scores[start : start + block][row, place],
        )
        yield pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def _write_csv(path: Path, parts: Iterator[pd.DataFrame]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        for number, part in enumerate(parts):
            write_csv(out, part, header=number == 0, float_format="%.6g")


def _write_parquet(path: Path, parts: Iterator[pd.DataFrame]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    first = pa.Table.from_pandas(next(parts), preserve_index=False)
    with parquet.ParquetWriter(path, first.schema) as out:
        out.write_table(first)
        for part in parts:
            out.write_table(pa.Table.from_pandas(part, schema=first.schema, preserve_index=False))
