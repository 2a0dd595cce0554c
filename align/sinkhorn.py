"""Balanced soft cluster codes by Sinkhorn-Knopp scaling."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tensors.functional import row_blocks

EPSILON = 0.05
"""Sharpness of the codes, fixed by the paper's code."""

ROUNDS = 3
"""Alternating normalisations."""


@torch.no_grad()
def sinkhorn(
    scores: Tensor, epsilon: float = EPSILON, rounds: int = ROUNDS, counts: Tensor | None = None
) -> Tensor:
    """Soft assignment of samples to prototypes that uses all prototypes about equally.

    FETTLE eq. 7, the SwAV recipe: `rounds` times give every prototype the same total mass, then
    every sample. The last step is the samples', so each code sums to one exactly and prototype
    usage is only nearly uniform. Adding a constant to all scores changes nothing.

    Args:
        scores: `(n, K)` cosine of samples and prototypes.
        epsilon: divides the scores; smaller is sharper.
        rounds: number of alternating normalisations.
        counts: `(n,)` how often each sample occurs; the codes equal those of the repeated rows.

    Returns:
        `(n, K)` codes, detached, rows sum to one.
    """
    if not len(scores):
        return scores.clone()
    kernel = ((scores - scores.max()) / epsilon).exp_()
    counts = scores.new_ones(len(scores)) if counts is None else counts.to(scores.dtype)
    row_scale, prototype_scale = sinkhorn_scales(kernel, counts, rounds)
    return kernel.mul_(row_scale.unsqueeze(1)).mul_(prototype_scale)


def sinkhorn_scales(
    kernel: Tensor, counts: Tensor, rounds: int = ROUNDS, masses: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The two scaling vectors of `code = diag(row) kernel diag(prototype)`.

    A round reads the kernel once: the samples of a block are scaled, and at once the block's share
    of the prototypes' next masses is added up, while it is in the cache.

    Args:
        kernel: `(n, K)` positive.
        counts: `(n,)` multiplicity of each row.
        rounds: number of alternating normalisations.
        masses: `(K,)` sums of the counted rows of the kernel, if they are known.

    Returns:
        `(n,)` row scales and `(K,)` prototype scales.
    """
    tiny = torch.finfo(kernel.dtype).tiny
    row_scale = torch.ones_like(counts)
    masses = kernel.T @ counts if masses is None else masses
    for left in reversed(range(rounds)):
        # The factors 1/K and 1/n of the published steps cancel in the codes.
        prototype_scale = masses.clamp_min_(tiny).reciprocal_()
        masses = torch.zeros_like(prototype_scale)
        for block in row_blocks(len(kernel), kernel.shape[1], kernel.device):
            row_scale[block] = (kernel[block] @ prototype_scale).clamp_min_(tiny).reciprocal_()
            if left:
                masses.addmv_(kernel[block].T, counts[block] * row_scale[block])
    return row_scale, prototype_scale
