"""Cosine InfoNCE between tables, for the contrastive backbones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..tensors.functional import contrastive_sum, full_precision, log_partition, unit_rows
from ..tensors.ids import Repeated
from ..tensors.representations import Representations
from ..tensors.tables import rows_of
from .base import Batch
from .objectives import batch_regulariser, batch_rows, bpr_loss
from .views import Kept, Views


@full_precision
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


@full_precision
def cosine_contrast_of(
    table: Tensor,
    candidates: Tensor,
    batch: Repeated,
    temperature: float,
    *,
    anchored: Tensor | None = None,
    allowed: Tensor | None = None,
) -> Tensor:
    """`cosine_contrast` of a table's rows of a batch, repeats included, each with its own id.

    Equal anchors have equal terms, so each is computed once and weighted by its count.

    Args:
        table: `(m, dim)` anchors of all nodes.
        candidates: `(m, dim)`; row i is the positive of anchor i.
        batch: the nodes of the batch.
        temperature: positive.
        anchored: `(m,)` bool, nodes whose terms count, by default all.
        allowed: `(m,)` bool, candidates that take part, by default all; every node that is
            `anchored` must.
    """
    anchors = unit_rows(table.index_select(0, batch.ids))
    candidates = unit_rows(candidates)
    weights = batch.counts.to(anchors.dtype)
    if anchored is not None:
        weights = weights * anchored.index_select(0, batch.ids)
    scale = anchors.new_full((), temperature)
    agreement = (anchors * candidates.index_select(0, batch.ids)).sum(1)
    normaliser = log_partition(anchors, candidates, scale, weights, allowed=allowed)
    return normaliser - weights @ agreement / scale


@full_precision
def in_batch_contrast(
    anchors: Tensor,
    anchor_of: Repeated,
    candidates: Tensor,
    candidate_of: Repeated,
    temperature: float,
    *,
    bounded: bool = True,
) -> Tensor:
    """InfoNCE between two sides of the pairs of a batch, inner products as logits, summed.

    As if every pair had a row of its own on both sides, so that repeats of a candidate are so many
    negatives. A candidate that occurs n times adds `n exp(a c / t) = exp((a c + t log n) / t)`:
    one more column, of `t log n` against ones.

    Args:
        anchors: `(n, dim)` rows of the distinct anchors.
        anchor_of: anchors of the pairs.
        candidates: `(m, dim)` rows of the distinct candidates.
        candidate_of: candidates of the pairs.
        temperature: positive.
        bounded: False where rows have any length.
    """
    weights, times = (side.counts.to(anchors.dtype) for side in (anchor_of, candidate_of))
    pairs = rows_of(anchors, anchor_of.of) * rows_of(candidates, candidate_of.of)
    ones = anchors.new_ones(len(anchors), 1)
    spread = torch.cat([candidates, temperature * times.log().unsqueeze(1)], dim=1)
    scale = anchors.new_full((), temperature)
    anchors = torch.cat([anchors, ones], dim=1)
    normaliser = log_partition(anchors, spread, scale, weights, bounded=bounded)
    return normaliser - pairs.sum() / temperature


def contrast_of_pairs(
    anchors: Representations, candidates: Representations, batch: Batch, temperature: float
) -> dict[str, Tensor]:
    """`cl_user` and `cl_item`, cosine InfoNCE within a batch between two views of the same nodes.

    Means over the positive pairs, repeats included as anchors and as negatives.

    Args:
        anchors: one view of all users and items.
        candidates: the other; where a node stands there is its positive.
        batch: whose users and positive items are contrasted, each among its kind.
        temperature: positive.
    """
    terms = {}
    for side, ids in (("user", batch.users), ("item", batch.items)):
        nodes = Repeated.of_batch(ids)
        anchor, candidate = (
            unit_rows(getattr(view, side).index_select(0, nodes.ids))
            for view in (anchors, candidates)
        )
        total = in_batch_contrast(anchor, nodes, candidate, nodes, temperature)
        terms[f"cl_{side}"] = total / len(ids)
    return terms


class TwoViewWeights(NamedTuple):
    """What the loss of a backbone of two views counts."""

    reg: float
    """of the squared norm of the batch's rows"""
    reg_batch_size: int | None
    """pairs that the norm is divided by; None for those of the batch"""
    contrast: float
    """of the contrast of the two views"""
    temperature: float
    """of the contrast"""


def loss_of_two_views(
    batch: Batch, representations: Representations, last: Kept[Views], weights: TwoViewWeights
) -> dict[str, Tensor]:
    """Terms `bpr`, and unless their weight is 0 `reg`, `cl_user` and `cl_item`.

    Args:
        batch: positive pairs and negatives.
        representations: of all users and items.
        last: the views of the last forward; content is the anchor of ids.
        weights: what the terms count.
    """
    rows = batch_rows(*representations, batch)
    terms = {"bpr": bpr_loss(rows, eps=0)}
    if weights.reg > 0:
        terms["reg"] = weights.reg * batch_regulariser(rows, weights.reg_batch_size)
    if weights.contrast > 0:
        ids, content = last.read()
        found = contrast_of_pairs(content, ids, batch, weights.temperature)
        terms |= {name: weights.contrast * value for name, value in found.items()}
    return terms


@full_precision
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
