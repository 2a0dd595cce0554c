"""Those whom lists are for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


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
