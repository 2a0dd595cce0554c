"""Item-based collaborative filtering where items are similar by content.

ItemKNN (Sarwar et al., WWW 2001); AlignRec (CIKM 2024) compares features with it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..evaluation import BlockScorer, recommend
from ..tensors.later import sp
from .inputs import history_matrix

NEIGHBORS = 10
SHRINK = 10.0


def item_cf_scores(
    dataset: Dataset, table: Tensor, *, k: int = NEIGHBORS, shrink: float = SHRINK
) -> NeighborScores:
    """Scores by the `k` items of most similar content of each item of the history.

    Args:
        dataset: its training split is the history.
        table: `(n_items, d)` content.
        k: similarities kept for each item, its own among them.
        shrink: see `ShrunkCosine`.
    """
    return NeighborScores(history_matrix(dataset), nearest_items(ShrunkCosine(table, shrink), k))


class NeighborScores:
    """Scores `R S`: for a user and an item, the summed similarity of the history to the item.

    Args:
        history: `R`, `(n_users, n_items)`.
        similarity: `S`, `(n_items, n_items)`; row i holds the neighbours of item i.
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, history: sp.csr_matrix, similarity: sp.csr_matrix) -> None:
        self.history, self.similarity = history, similarity
        self.n_users, self.n_items = history.shape

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the scores of `users` into `out`."""
        out.copy_(torch.from_numpy((self.history[users.numpy()] @ self.similarity).toarray()))


class ShrunkCosine:
    """Similarity of items, `<f_i, f_j> / (|f_i| |f_j| + shrink)`; a zero row is similar to none.

    With unit rows `shrink` scales all similarities alike and changes no ranking. With raw
    features it does: short rows count less, and how much less depends on the scale of the
    features.

    Args:
        table: `(n_items, d)` content.
        shrink: at least zero.
    """

    def __init__(self, table: Tensor, shrink: float) -> None:
        self.table = table
        self.norms = table.norm(dim=1)
        self.shrink = shrink
        self.n_users = self.n_items = len(table)
        self.dtype, self.device = table.dtype, table.device

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the similarities of the items `users` to all items into `out`."""
        torch.mm(self.table[users], self.table.T, out=out)
        scale = torch.outer(self.norms[users], self.norms).add_(self.shrink)
        out.div_(scale.clamp_min_(torch.finfo(self.dtype).tiny))


def nearest_items(similarity: BlockScorer, k: int) -> sp.csr_matrix:
    """The `k` most similar items of every item, `(n_items, n_items)`; equal ones by item id."""
    n_items = similarity.n_items
    ids, values = recommend(similarity, torch.arange(n_items), min(k, n_items))
    rows = np.repeat(np.arange(n_items), ids.shape[1])
    entries = (values.float().numpy().ravel(), (rows, ids.numpy().ravel()))
    matrix = sp.csr_matrix(entries, shape=(n_items, n_items))
    matrix.eliminate_zeros()
    return matrix
