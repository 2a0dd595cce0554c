"""The most popular items for everybody."""

from __future__ import annotations

import torch

from ..tensors.representations import Representations
from .base import REFERENCES, Reference


@REFERENCES.register("popularity", paper="none; the same list for all users")
class Popularity(Reference):
    """An item's score is the number of its training interactions; no options, no grid."""

    def scores(self) -> Representations:
        """Ones `(n_users, 1)` and counts `(n_items, 1)`."""
        counts = torch.bincount(self.dataset.train[1], minlength=self.dataset.n_items)
        return Representations(torch.ones(self.dataset.n_users, 1), counts.float()[:, None])
