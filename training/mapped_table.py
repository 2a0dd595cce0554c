"""Content features that stay on disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..datasets.arrays import map_array
from ..errors import DataError


class MappedTable:
    """The matrix of a `.npy` file, of which only the rows that are asked for are read.

    Hand it to `fit` among the `features` of an alignment: the system keeps of the file what it has
    memory for.

    Args:
        path: the file, `(n_items, d)` of any floating type.
        device: where the rows are wanted.

    Attributes:
        shape: `(n_items, d)`.

    Raises:
        DataError: the file cannot be mapped, or is no matrix of floating numbers.
    """

    def __init__(self, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> None:
        self.path = path
        self.device = torch.device(device)
        self._array = map_array(Path(path))
        if self._array.ndim != 2 or self._array.dtype.kind != "f":
            raise DataError(
                f"{path} holds {self._array.dtype} of shape {self._array.shape}: features are a "
                "matrix of floating numbers with a row for each item"
            )
        self.shape: tuple[int, int] = self._array.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """`(len(rows), d)`, float32 at least, on the device of the table."""
        read = self._array[rows.cpu().numpy()]
        wide = np.promote_types(read.dtype, np.float32)
        return torch.from_numpy(read.astype(wide, copy=False)).to(self.device)

    def to(self, device: torch.device | str) -> MappedTable:
        """The same file, with rows given on `device`."""
        return MappedTable(self.path, device)
