"""Those whom lists are for, and the rows of the ids that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from ..datasets.ids import rows_of_ids
from ..errors import ConfigError, shorten


@dataclass(frozen=True)
class Asking:
    """Users of the data, or people unknown.

    Attributes:
        user: `(n, dim)` their vectors.
        seen: `(2, m)` their places in `user`, in order, and rows of the items that they have.
        history: `(n, n_items)` items that evidence is read from; None without evidence.
    """

    user: Tensor
    seen: Tensor
    history: sp.csr_matrix | None

    def has(self) -> list[np.ndarray]:
        """Rows of the items that each of them has."""
        sizes = self.seen[0].bincount(minlength=len(self.user))
        return [has.numpy() for has in self.seen[1].split(sizes.tolist())]

    def among(self, chosen: Tensor, n_items: int) -> Asking:
        """The same where the catalogue are the rows `chosen` of `n_items`."""
        place = torch.full((n_items,), -1)
        place[chosen] = torch.arange(len(chosen))
        seen = torch.stack([self.seen[0], place[self.seen[1]]])
        return replace(self, seen=seen[:, seen[1] >= 0])


def rows_of(index: pd.Index, ids: Sequence[str], kind: str) -> Tensor:
    """Rows `(n,)` int64 of ids; raises `ConfigError` for one that is unknown."""
    rows = rows_of_ids(index, ids)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        new = "; for someone new give --history or --newcomer" if kind == "user" else ""
        raise ConfigError(
            f"{kind} '{shorten(str(list(ids)[unknown[0]]))}' is unknown: the export has "
            f"{len(index)}, such as '{shorten(index[0])}'{new}"
        )
    return torch.from_numpy(rows)
