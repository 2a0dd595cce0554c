"""Weighted draws of edges, for backbones that train on a part of the graph."""

from __future__ import annotations

import torch
from torch import Tensor


def degree_scale(users: Tensor, items: Tensor) -> Tensor:
    """`sqrt(d_u d_i)` of every edge, `(n_edges,)` float64; see `weighted_draw`.

    Args:
        users: `(n_edges,)` int64.
        items: `(n_edges,)` int64.
    """
    user_degree, item_degree = users.bincount()[users], items.bincount()[items]
    return (user_degree.double() * item_degree.double()).sqrt()


def weighted_draw(scale: Tensor, n: int, rng: torch.Generator | None = None) -> Tensor:
    """Positions of `n` entries without replacement, each with probability proportional to 1/scale.

    The `n` smallest exponential keys are such a draw; unlike `torch.multinomial` it takes any
    number of entries.

    Args:
        scale: `(n_edges,)` positive.
        n: size of the draw, at most `n_edges`.
        rng: source of randomness; None is torch's global generator.
    """
    keys = torch.empty_like(scale).exponential_(generator=rng) * scale
    return keys.topk(n, largest=False, sorted=False).indices
