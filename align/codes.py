"""Cluster codes of rows, and how well predictions from other views meet them.

A swapped term is `-q_a . log softmax(x_b C / t) = logsumexp(x_b C / t) - (q_a C) . x_b / t`,
because a code sums to one. So the codes of a row meet the rows they are targets of in `dim`
dimensions only, through the weighted sum of these rows (`partners`): each view is done on its own.
There are two kinds of codes: soft balanced ones (Sinkhorn), and those of k-means: the nearest
centroid, or a softmax over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError
from ..tensors.functional import known_gradient, log_partition, row_blocks, unit_rows
from ..tensors.kmeans import kmeans
from ..tensors.products import add_product, product, tiled_length, whole_tiles
from .sinkhorn import EPSILON, sinkhorn_scales

Codes = Literal["sinkhorn", "kmeans"]
"""Kinds of cluster codes."""

ViewLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""One view's share of the swapped prediction, of `rows, counts, partners, weights`."""

ROUNDS_OF_KMEANS = 10
"""Iterations; few are enough, since every epoch goes on from the prototypes."""


def sinkhorn_view(
    rows: Tensor,
    counts: Tensor,
    partners: Tensor,
    weights: Tensor,
    *,
    prototypes: Tensor,
    temperature: Tensor,
    workspace: Tensor,
) -> Tensor:
    """The normaliser of a view's own predictions, minus what its Sinkhorn codes agree with.

    Args:
        rows: `(n, dim)` unit rows of this view, distinct.
        counts: `(n,)` how often each row occurs in the batch; Sinkhorn balances with them.
        partners: `(n, dim)` weighted sum of the rows whose targets are this row's codes.
        weights: `(n,)` total weight of the predictions made from each row.
        prototypes: `(K, dim)` unit rows.
        temperature: positive scalar.
        workspace: `(tiled_length(n) * K,)` or longer, overwritten; fresh memory would cost as
            much time as a product.

    Returns:
        Scalar `sum_i weights_i logsumexp(x_i C / t) - (q_i C) . partners_i / t`; the codes `q`
        are constants.
    """
    shape = tiled_length(len(rows), rows), len(prototypes)
    kernel = workspace[: shape[0] * shape[1]].view(shape)
    sharpen = temperature.detach() / EPSILON
    counts, masses = whole_tiles(counts), kernel.new_zeros(shape[1])

    def keep(block: slice, logits: Tensor) -> None:
        part = torch.mul(logits, sharpen, out=kernel[block]).exp2_()
        masses.addmv_(part.T, counts[block])

    normaliser = log_partition(rows, prototypes, temperature, weights, visit=keep)
    scales = sinkhorn_scales(kernel, counts, masses=masses)
    return normaliser - code_agreement(kernel, scales, partners, prototypes, temperature)


def code_agreement(
    kernel: Tensor,
    scales: tuple[Tensor, Tensor],
    partners: Tensor,
    prototypes: Tensor,
    temperature: Tensor,
) -> Tensor:
    """`sum_i (q_i C) . partners_i / t` with `q` the Sinkhorn codes of `kernel`, constants.

    The two scaling vectors of the codes go into the thin factors of each product, so the codes
    themselves are never formed. Padding rows of the kernel count zero times.
    """
    inputs = (partners, prototypes, temperature)
    moving = torch.is_grad_enabled() and prototypes.requires_grad
    with torch.no_grad():
        row_scale, prototype_scale = (scale.unsqueeze(1) for scale in scales)
        row_scale = row_scale / temperature
        of_codes, pulling = prototypes * prototype_scale, whole_tiles(partners) * row_scale
        targets = torch.empty_like(pulling)
        pulled = torch.zeros_like(prototypes.T, memory_format=torch.contiguous_format)
        for block in row_blocks(len(kernel), kernel.shape[1], kernel.device):
            targets[block] = product(kernel[block], of_codes)
            if moving:
                add_product(pulled, pulling[block].T, kernel[block])
        targets = (targets * row_scale)[: len(partners)]
        value = (targets * partners).sum()
        to_prototypes = pulled.T * prototype_scale if moving else None
    return known_gradient(value, inputs, (targets, to_prototypes, -value / temperature))


class Clusters(NamedTuple):
    """What codes of k-means are made from."""

    centroids: Tensor
    """`(K, dim)` unit rows, the k-th of the cluster that the k-th prototype stands for"""
    softness: float = 0.0
    """temperature of a softmax over the cosines of a row and all centroids; 0 is its limit,
    one-hot codes at the nearest centroid"""


def kmeans_view(
    rows: Tensor,
    counts: Tensor,
    partners: Tensor,
    weights: Tensor,
    *,
    prototypes: Tensor,
    temperature: Tensor,
    clusters: Clusters,
) -> Tensor:
    """The same with codes of k-means, which are constants.

    Other arguments are those of `sinkhorn_view`; `counts` do not matter, since these codes are not
    balanced.
    """
    centroids, softness = clusters
    normaliser = log_partition(rows, prototypes, temperature, weights)
    if softness > 0:
        return normaliser - soft_agreement(
            rows, centroids, softness, partners, prototypes, temperature
        )
    codes = prototypes.index_select(0, nearest(rows, centroids))
    return normaliser - (codes * partners).sum() / temperature


def soft_agreement(
    rows: Tensor,
    centroids: Tensor,
    softness: float,
    partners: Tensor,
    prototypes: Tensor,
    temperature: Tensor,
) -> Tensor:
    """`sum_i (q_i C) . partners_i / t` with `q = softmax(rows centroids^T / softness)`, constants.

    The codes, `(n, K)`, exist one block of rows at a time.
    """
    with torch.no_grad():
        codes_of, pulled = torch.zeros_like(partners), torch.zeros_like(prototypes)
        for block in row_blocks(len(rows), len(centroids), rows.device):
            codes = (rows[block] @ centroids.T / softness).softmax(1)
            codes_of[block] = codes @ prototypes
            pulled += codes.T @ partners[block]
        value = (codes_of * partners).sum() / temperature
        gradients = (codes_of / temperature, pulled / temperature, -value / temperature)
    return known_gradient(value, (partners, prototypes, temperature), gradients)


@torch.no_grad()
def nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    """Centroid of the largest cosine for each of the unit rows `(n, dim)`, `(n,)` int64."""
    blocks = row_blocks(len(rows), len(centroids), rows.device)
    found = [(rows[block] @ centroids.T).argmax(1) for block in blocks]
    return torch.cat(found) if found else rows.new_zeros(0, dtype=torch.int64)


@torch.no_grad()
def fit_centroids(rows: Iterable[Tensor], prototypes: Tensor, rng: torch.Generator) -> Tensor:
    """Spherical k-means of unit rows that starts from the prototypes, by FAISS in float32.

    Starting there keeps the numbering: the k-th centroid is what became of the k-th prototype.

    Args:
        rows: `(n, dim)` tables of unit rows, clustered together.
        prototypes: `(K, dim)`.
        rng: seeds the choice of a sample, of large tables, and the refill of empty clusters.

    Returns:
        `(K, dim)` unit rows.

    Raises:
        CrossalignError: FAISS is not installed, or there are fewer rows than prototypes.
    """
    points = torch.cat([part.float().cpu() for part in rows])
    n_clusters = len(prototypes)
    if len(points) < n_clusters:
        raise ConfigError(
            f"codes 'kmeans' cannot find {n_clusters} clusters among {len(points)} rows: "
            f"lower n_prototypes to {len(points)} or less"
        )
    found = kmeans(
        points,
        n_clusters,
        seed=int(torch.randint(2**31 - 1, (), generator=rng)),
        n_iterations=ROUNDS_OF_KMEANS,
        start=unit_rows(prototypes.detach()),
        spherical=True,
    )
    return unit_rows(found.to(prototypes))
