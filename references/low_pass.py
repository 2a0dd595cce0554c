"""GF-CF: low-pass filters on the graph of items, in closed form.

Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021: with the
normalised interactions `R = D_u^-1/2 X D_i^-1/2` and their `rank` leading right singular vectors
`V`, `(n_items, rank)`, a history `x` gives the scores

    x (R'R + alpha D_i^-1/2 V V' D_i^1/2),

a linear filter and an ideal one, which lets only the smoothest signals pass. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from ..datasets.dataset import Dataset
from ..tensors.later import sp
from .base import REFERENCES, Reference
from .inputs import history_matrix


@dataclass(frozen=True)
class LowPass:
    """The two sides of the ideal filter `left' right`, and what it was made from.

    Attributes:
        normalised: `R`, `(n_users, n_items)`.
        left: `V' D_i^-1/2`, `(rank, n_items)` float32.
        right: `V' D_i^1/2`, `(rank, n_items)` float32.
    """

    normalised: sp.csr_matrix
    left: NDArray[np.float32]
    right: NDArray[np.float32]


def low_pass(history: sp.csr_matrix, rank: int) -> LowPass:
    """The ideal filter of a catalogue, by Lanczos iterations on the sparse interactions.

    Args:
        history: `(n_users, n_items)` of ones.
        rank: singular vectors that pass; of fewer users or items, all but one.
    """
    from scipy.sparse.linalg import svds  # as late as SciPy's sparse matrices

    users = np.maximum(np.asarray(history.sum(1)).ravel(), 1.0) ** -0.5
    items = np.maximum(np.asarray(history.sum(0)).ravel(), 1.0) ** 0.5
    normalised = sp.csr_matrix(sp.diags_array(users) @ history @ sp.diags_array(1 / items))
    normalised = normalised.astype(np.float32)
    rank = min(rank, min(history.shape) - 1, normalised.nnz)
    if rank < 1:
        nothing = np.zeros((0, history.shape[1]), np.float32)
        return LowPass(normalised, nothing, nothing)
    start = np.random.default_rng(0).standard_normal(min(history.shape)).astype(np.float32)
    basis = svds(normalised, k=rank, v0=start, return_singular_vectors="vh")[2]
    left, right = basis / items, basis * items
    return LowPass(normalised, left.astype(np.float32), right.astype(np.float32))


class FilterScores:
    """Scores of both filters, for some users at a time.

    Args:
        history: `(n_users, n_items)` of ones.
        filters: of `low_pass`.
        alpha: weight of the ideal filter.
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, history: sp.csr_matrix, filters: LowPass, alpha: float) -> None:
        self.history, self.filters, self.alpha = history, filters, alpha
        self.n_users, self.n_items = history.shape

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the scores of `users` `(b,)` to `out` `(b, n_items)`."""
        own, filters = self.history[users.numpy()], self.filters
        shared = (own @ filters.normalised.T) @ filters.normalised
        ideal = (own @ filters.left.T) @ filters.right
        out.copy_(torch.from_numpy(shared.toarray() + np.float32(self.alpha) * ideal))


@REFERENCES.register("gfcf", paper="Shen et al., CIKM 2021")
class GFCF(Reference):
    """Graph-filter collaborative filtering: a linear and an ideal low-pass filter.

    Grid: rank in 32, 64, 128, 256.

    Args:
        dataset: see `Reference`.
        rank: singular vectors that the ideal filter lets pass.
        alpha: weight of the ideal filter beside the linear one.
    """

    def __init__(
        self, dataset: Dataset, *, rank: PositiveInt = 256, alpha: NonNegativeFloat = 3.0
    ) -> None:
        super().__init__(dataset)
        self.rank, self.alpha = rank, alpha

    def scores(self) -> FilterScores:
        """Block by block; nothing of users × items or items × items is held."""
        history = history_matrix(self.dataset)
        return FilterScores(history, low_pass(history, self.rank), self.alpha)

    @classmethod
    def grid(cls, dataset: Dataset) -> Sequence[Mapping[str, Any]]:
        """Four points."""
        return [{"rank": rank} for rank in (32, 64, 128, 256)]
