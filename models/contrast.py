"""Cosine InfoNCE between tables, for the contrastive backbones."""

from __future__ import annotations

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
