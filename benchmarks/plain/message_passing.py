"""Message passing as PyTorch Geometric does it: gather the ends of all edges, scatter messages."""

from __future__ import annotations

import torch
from torch import Tensor


def degree_propagation(x: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
    """Sum over the edges with `1 / sqrt(d d)`, which is computed on every call."""
    scale = torch.bincount(sources, minlength=len(x)).to(x.dtype) ** -0.5
    messages = (scale[sources] * scale[targets]).unsqueeze(1) * x[sources]
    return torch.zeros_like(x).index_add(0, targets, messages)


def weighted_sum(x: Tensor, weights: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
    """Sum over the edges with weights of their own."""
    return torch.zeros_like(x).index_add(0, targets, weights.unsqueeze(1) * x[sources])


def attend(x: Tensor, sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Attended sources of every node, and the attention of every edge."""
    logits = (x[targets] * x[sources]).sum(1)
    top = logits.new_full((len(x),), -torch.inf)
    top = top.scatter_reduce(0, targets, logits.detach(), "amax")
    masses = (logits - top[targets]).exp()
    totals = masses.new_zeros(len(x)).index_add(0, targets, masses)
    attention = masses / totals[targets]
    return weighted_sum(x, attention, sources, targets), attention
