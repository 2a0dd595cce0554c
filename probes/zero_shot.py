"""Zero-shot recommendation: a user is the content of their training items (AlignRec, CIKM 2024).

Nothing is trained, so what it scores is what the features know.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..evaluation import BlockScorer
from ..references.inputs import history_matrix
from ..tensors.functional import unit_rows
from ..tensors.representations import Representations

ZeroShot = Literal["mean", "max", "last"]
ZERO_SHOT: tuple[ZeroShot, ...] = get_args(ZeroShot)
PAIRS_AT_ONCE = 256
"""History items compared with the whole catalogue at a time."""


def zero_shot_scores(
    dataset: Dataset, table: Tensor, variant: ZeroShot = "mean"
) -> Representations | BlockScorer:
    """Scores of items by the cosine of their content with that of the user's training items.

    Args:
        dataset: its training split is the history.
        table: `(n_items, d)` content; rows are scaled to length one.
        variant: `mean` compares with the mean of the history's unit rows, `max` with the most
            similar item of the history, `last` with the user's last training row in the order
            of the data set, which is the latest item only where the files are in order of time.

    Returns:
        What `Evaluator` takes. Users without training rows get arbitrary scores.
    """
    rows = unit_rows(table)
    if variant == "mean":
        history = history_matrix(dataset)
        share = sp.diags(1.0 / np.maximum(history.getnnz(axis=1), 1), dtype=np.float32)
        return Representations(torch.from_numpy((share @ history) @ rows.numpy()), rows)
    if variant == "max":
        return MaxSimilarity(history_matrix(dataset), rows)
    users, items = dataset.train.numpy()
    last = np.zeros(dataset.n_users, dtype=np.int64)
    last[users] = items  # of several, NumPy keeps the last
    return Representations(rows[torch.from_numpy(last)], rows)


class MaxSimilarity:
    """Cosine of each item with the most similar one of the user's history.

    Args:
        history: `(n_users, n_items)` interactions.
        rows: `(n_items, d)` unit rows.
    """

    def __init__(self, history: sp.csr_matrix, rows: Tensor) -> None:
        self.history = history
        self.rows = rows
        self.n_users, self.n_items = history.shape
        self.dtype, self.device = rows.dtype, rows.device

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the scores of `users` into `out`; at most `PAIRS_AT_ONCE` more rows are held."""
        block = self.history[users.numpy()].tocoo()
        owners, items = torch.from_numpy(block.row).long(), torch.from_numpy(block.col).long()
        out.fill_(-1.0)
        for chunk, of in zip(items.split(PAIRS_AT_ONCE), owners.split(PAIRS_AT_ONCE), strict=True):
            similarity = self.rows[chunk] @ self.rows.T
            for row, owner in zip(similarity, of.tolist(), strict=True):
                torch.maximum(out[owner], row, out=out[owner])
