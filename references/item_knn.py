"""Item-based collaborative filtering on interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from ..datasets.dataset import Dataset
from ..tensors.later import sp
from .base import REFERENCES, Reference
from .inputs import history_matrix
from .item_cf import NeighborScores, nearest_items


class CooccurrenceCosine:
    """Similarity of items, `c_ij / (sqrt(d_i d_j) + shrink)`; an item is not similar to itself.

    `c_ij` users interacted with both items, `d_i` with item i.

    Args:
        history: `(n_users, n_items)` of ones.
        shrink: at least zero; pairs with few users count less.
        shared: a user with d items counts `1 / d` in `c_ij`.
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, history: sp.csr_matrix, shrink: float, *, shared: bool = False) -> None:
        self.by_user, self.by_item = history, history.T.tocsr()
        if shared:
            share = 1 / np.maximum(np.diff(history.indptr), 1)
            self.by_user = sp.csr_matrix(sp.diags(share.astype(np.float32)) @ history)
        self.norms = torch.from_numpy(np.sqrt(np.diff(self.by_item.indptr))).float()
        self.shrink = shrink
        self.n_users = self.n_items = history.shape[1]

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the similarities of the items `users` to all items into `out`."""
        out.copy_(torch.from_numpy((self.by_item[users.numpy()] @ self.by_user).toarray()))
        scale = torch.outer(self.norms[users], self.norms).add_(self.shrink)
        out.div_(scale.clamp_min_(torch.finfo(self.dtype).tiny))
        out[torch.arange(len(users)), users] = 0.0


@REFERENCES.register("itemknn", paper="Sarwar et al., WWW 2001")
class ItemKNN(Reference):
    """Item-based collaborative filtering with shrunk cosine over common users.

    Grid: k in 20, 50, 100, 200; shrink in 0, 10, 50; and with shared users k in 50, 200, without
    shrinkage.

    Args:
        dataset: see `Reference`.
        k: neighbours kept for each item of the history.
        shrink: added to the denominator of the cosine.
        shared: a common user with d items counts 1/d: who has few says more about each pair of
            them (Zhou et al., Physical Review E 2007).
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        k: PositiveInt = 50,
        shrink: NonNegativeFloat = 10.0,
        shared: bool = False,
    ) -> None:
        super().__init__(dataset)
        self.k, self.shrink, self.shared = k, shrink, shared

    def scores(self) -> NeighborScores:
        """Summed similarity of the history."""
        history = history_matrix(self.dataset)
        cosine = CooccurrenceCosine(history, self.shrink, shared=self.shared)
        return NeighborScores(history, nearest_items(cosine, self.k))

    @classmethod
    def grid(cls, dataset: Dataset) -> Sequence[Mapping[str, Any]]:
        """Fourteen points."""
        plain = [{"k": k, "shrink": s} for k in (20, 50, 100, 200) for s in (0.0, 10.0, 50.0)]
        return [*plain, *({"k": k, "shrink": 0.0, "shared": True} for k in (50, 200))]
