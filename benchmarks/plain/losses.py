"""The ranking loss and the regulariser that the published codes share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def ranking_loss(user: Tensor, positive: Tensor, negative: Tensor, eps: float = 0.0) -> Tensor:
    """BPR over the rows of a batch; `eps` inside the logarithm, where a code has it."""
    margin = (user * positive).sum(1) - (user * negative).sum(1)
    if eps == 0:
        return -logsigmoid(margin).mean()
    return -torch.log(eps + torch.sigmoid(margin)).mean()


def norms(*matrices: Tensor) -> Tensor:
    """Sum of the Frobenius norms over the number of rows of the last one."""
    return sum(torch.norm(matrix) for matrix in matrices) / len(matrices[-1])
