"""Ranking losses and regularisers the backbones share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .base import Batch

PUBLISHED_EPS = 1e-10


class Rows(NamedTuple):
    """The rows of one batch."""

    user: Tensor
    """`(batch, dim)`"""
    positive: Tensor
    """`(batch, dim)`, items of the positive pairs"""
    negative: Tensor
    """`(batch, dim)`, sampled items"""


def batch_rows(user: Tensor, item: Tensor, batch: Batch) -> Rows:
    """Rows of a batch from a `(n_users, dim)` and a `(n_items, dim)` table.

    The backward of each gather is one index-add.
    """
    return Rows(
        user.index_select(0, batch.users),
        item.index_select(0, batch.items),
        item.index_select(0, batch.negatives),
    )


def bpr_loss(rows: Rows, *, eps: float = PUBLISHED_EPS) -> Tensor:
    """Bayesian personalised ranking, mean of `-ln sigmoid(<u, positive> - <u, negative>)`.

    Source: Rendle et al., UAI 2009, eq. 4.

    Args:
        rows: rows of the batch.
        eps: added to the sigmoid, which bounds the loss of a badly ranked pair at `-ln eps`; the
            MMRec code has it in BPR, LightGCN and VBPR. 0 is the plain log-sigmoid.
    """
    margin = (rows.user * rows.positive).sum(1) - (rows.user * rows.negative).sum(1)
    if eps == 0:
        return -logsigmoid(margin).mean()
    return -(eps + margin.sigmoid()).log().mean()


def norm_regulariser(rows: Rows) -> Tensor:
    """Sum of the Frobenius norms of the batch matrices over the number of rows, not squared.

    This is the regulariser of the published MMRec backbones (`EmbLoss`); being un-squared it
    allows weights up to 2.

    Args:
        rows: rows of the batch; repeated ones count again.
    """
    norms = [torch.linalg.matrix_norm(matrix) for matrix in rows]
    return torch.stack(norms).sum() / len(rows.user)


def mean_cosine_distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean over the pairs of unit rows, `(n, dim)` each, of `1 - cos`."""
    return (1 - (first * second).sum(1)).mean()


def half_squared_norm(tables: Iterable[Tensor]) -> Tensor:
    """Half the sum of all squared entries, the usual L2 regulariser; a scalar.

    Args:
        tables: such as the rows of a batch, repeated ones included.
    """
    return torch.stack([table.square().sum() for table in tables]).sum() / 2


def batch_regulariser(rows: Rows, batch_size: int | None = None) -> Tensor:
    """`half_squared_norm` of the batch's rows, per pair.

    Args:
        rows: rows of the batch.
        batch_size: divide by this number instead of by the number of pairs; the published MMRec
            backbones take the configured batch size even for a smaller last batch.
    """
    return half_squared_norm(rows) / (batch_size or len(rows.user))
