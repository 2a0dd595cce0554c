"""Ranking losses and regularisers the backbones share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .base import Batch, Representations

PUBLISHED_EPS = 1e-10


def pair_scores(user: Tensor, item: Tensor) -> Tensor:
    """Inner product of matching rows: `(batch, dim)` twice to `(batch,)`."""
    return (user * item).sum(dim=-1)


def bpr_loss(positive: Tensor, negative: Tensor, *, eps: float = PUBLISHED_EPS) -> Tensor:
    """Bayesian personalised ranking, mean of `-ln sigmoid(positive - negative)`.

    Source: Rendle et al., UAI 2009, eq. 4.

    Args:
        positive: `(batch,)` scores of the positive pairs.
        negative: `(batch,)` scores of the sampled pairs.
        eps: added to the sigmoid, which bounds the loss of a badly ranked pair at `-ln eps`; the
            MMRec code has it in BPR, LightGCN and VBPR. 0 is the plain log-sigmoid.
    """
    margin = positive - negative
    if eps == 0:
        return -logsigmoid(margin).mean()
    return -(eps + margin.sigmoid()).log().mean()


def representation_bpr(
    representations: Representations, batch: Batch, *, eps: float = PUBLISHED_EPS
) -> Tensor:
    """BPR over the inner products of full representation tables; see `bpr_loss`."""
    user = take(representations.user, batch.users)
    positive = take(representations.item, batch.items)
    negative = take(representations.item, batch.negatives)
    return bpr_loss(pair_scores(user, positive), pair_scores(user, negative), eps=eps)


def norm_regulariser(*rows: Tensor) -> Tensor:
    """Sum of the Frobenius norms of the batch matrices over the number of rows, not squared.

    This is the regulariser of the published MMRec backbones (`EmbLoss`); being un-squared it
    allows weights up to 2.

    Args:
        rows: matrices `(batch, dim)`; repeated rows count again.
    """
    norms = [torch.linalg.matrix_norm(matrix) for matrix in rows]
    return torch.stack(norms).sum() / rows[0].shape[0]


def take(table: Tensor, rows: Tensor) -> Tensor:
    """Rows of a table, `(len(rows), dim)`; its backward is one index-add."""
    return table.index_select(0, rows)
