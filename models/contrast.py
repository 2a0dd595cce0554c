"""What the contrastive backbones share: cosine InfoNCE and weighted edge draws."""

from __future__ import annotations

import torch
from torch import Tensor

from ..align.functional import contrastive_sum, unit_rows


def cosine_contrast(
    anchors: Tensor, candidates: Tensor, positives: Tensor, temperature: float
) -> Tensor:
    """InfoNCE with cosine logits, summed over the anchors.

    `-sum_i log( exp(cos(a_i, c_p(i)) / t) / sum_j exp(cos(a_i, c_j) / t) )`. The logits exist one
    block of rows at a time and never enter autograd, so the candidates may be all nodes.

    Args:
        anchors: `(n, dim)`.
        candidates: `(m, dim)`.
        positives: `(n,)` int64, the row of `candidates` each anchor belongs to.
        temperature: positive.
    """
    scale = anchors.new_full((), temperature)
    return contrastive_sum(unit_rows(anchors), unit_rows(candidates), positives, scale)


def padded_contrast(anchors: Tensor, candidates: Tensor, temperature: float, eps: float) -> Tensor:
    """InfoNCE between equal rows with a constant in the published places, summed.

    `-sum_i log( p_i / (sum_j exp(cos(a_i, c_j) / t) + eps) + eps )` with
    `p_i = exp(cos(a_i, c_i) / t)`. Dense in the rows: for batches, not for all nodes.

    Args:
        anchors: `(n, dim)`.
        candidates: `(n, dim)`, row i the positive of anchor i.
        temperature: positive.
        eps: added to the denominator and inside the logarithm.
    """
    masses = (unit_rows(anchors) @ unit_rows(candidates).T / temperature).exp()
    return -(masses.diagonal() / (masses.sum(1) + eps) + eps).log().sum()


def degree_scale(users: Tensor, items: Tensor) -> Tensor:
    """`sqrt(d_u d_i)` of every edge, `(n_edges,)` float64; see `weighted_draw`.

    Args:
        users: `(n_edges,)` int64.
        items: `(n_edges,)` int64.
    """
    user_degree, item_degree = users.bincount()[users], items.bincount()[items]
    return (user_degree.double() * item_degree.double()).sqrt()


def weighted_draw(scale: Tensor, n: int) -> Tensor:
    """Positions of `n` entries without replacement, each with probability proportional to 1/scale.

    The `n` smallest exponential keys are such a draw. Randomness is torch's global one.

    Args:
        scale: `(n_edges,)` positive.
        n: size of the draw, at most `n_edges`.
    """
    keys = torch.empty_like(scale).exponential_() * scale
    return keys.topk(n, largest=False, sorted=False).indices
