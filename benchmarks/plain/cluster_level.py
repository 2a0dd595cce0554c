"""Cluster-level alignment: five score matrices, their codes, and a log-softmax in every term."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

EPSILON = 0.05
ROUNDS = 3


def cluster_level(
    user: Tensor,
    tables: list[Tensor],
    codebook: Tensor,
    modality_codebook: Tensor,
    temperature: Tensor,
    users: Tensor,
    items: Tensor,
) -> Tensor:
    """FETTLE's cluster-level loss, a row for every pair of the batch.

    Args:
        user: `(n_users, dim)`.
        tables: `(n_items, dim)` each, the ids first.
        codebook: `(K, dim)` prototypes of users and items, rows of length one.
        modality_codebook: `(K, dim)` those of the modalities.
        temperature: scalar.
        users: `(batch,)`.
        items: `(batch,)`.
    """

    def swapped(codes: Tensor, scores: Tensor) -> Tensor:
        return -(codes * log_softmax(scores / temperature, dim=1)).sum(1).mean()

    rows = [normalize(table[items]) for table in tables]
    of_users, of_items = normalize(user[users]) @ codebook.T, rows[0] @ codebook.T
    user_item = swapped(sinkhorn(of_users), of_items) + swapped(sinkhorn(of_items), of_users)
    scores = [x @ modality_codebook.T for x in rows]
    codes = [sinkhorn(z) for z in scores]
    modalities = torch.zeros(())
    for target, code in enumerate(codes):
        for source, z in enumerate(scores):
            if source != target:
                modalities = modalities + swapped(code, z)
    return user_item / 2 + modalities / (len(tables) * (len(tables) - 1))


@torch.no_grad()
def sinkhorn(scores: Tensor) -> Tensor:
    """Codes of `(batch, K)` scores, by normalising the whole matrix again and again."""
    q = torch.exp(scores / EPSILON).T
    k, n = q.shape
    q /= q.sum()
    for _ in range(ROUNDS):
        q /= q.sum(dim=1, keepdim=True)
        q /= k
        q /= q.sum(dim=0, keepdim=True)
        q /= n
    q *= n
    return q.T
