"""EASE, the linear item-to-item model of least squares, and with content in its Gram matrix.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019: the weights `B` with a zero
diagonal that reconstruct histories `X` best, `min |X - X B|^2 + ridge |B|^2`, are
`B = I - P diag(P)^-1` with `P = (X'X + ridge I)^-1`. With content, `content_weight F F'` of unit
feature rows `F` is added to `X'X`: each feature is a further user, who has the items to the degree
that they have the feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from ..datasets.dataset import Dataset
from ..errors import ConfigError, RunError
from ..tensors.later import sp
from .base import REFERENCES, Reference
from .inputs import ALL, chosen_modalities, content_table, history_matrix, modality_choices

MEMORY_MIB = 4096
"""Default bound on the square of the catalogue: 32,768 items."""
BLOCK_BYTES = 32 << 20
"""Of the rows that are filled, scaled or mirrored at a time."""

Square = NDArray[np.float32]


def ease_bytes(n_items: int) -> int:
    """Bytes of the one square matrix that EASE holds."""
    return 4 * n_items * n_items


def fits_memory(n_items: int, memory_mib: int) -> bool:
    """Whether the square matrix of a catalogue stays within the bound."""
    return ease_bytes(n_items) <= memory_mib * 2**20


def require_memory(n_items: int, memory_mib: int) -> None:
    """Raise `ConfigError` unless the square of a catalogue stays within the bound."""
    if not fits_memory(n_items, memory_mib):
        raise ConfigError(
            f"EASE needs {ease_bytes(n_items) >> 20} MiB for the square of {n_items} items, more "
            f"than memory_mib = {memory_mib}: raise it, or choose co-occurrence, whose lists stay "
            "sparse"
        )


def ease_weights(
    history: sp.csr_matrix,
    ridge: float,
    *,
    content: NDArray[np.float32] | None = None,
    content_weight: float = 0.0,
    memory_mib: int = MEMORY_MIB,
) -> Square:
    """`B`, `(n_items, n_items)`: row j is what item j of a history says for every item.

    This closed form needs a dense inverse: one float32 square, worked on in place, is the only
    matrix of that size here, and a catalogue whose square exceeds the bound is refused. Time
    grows with the cube of the items.

    Args:
        history: `(n_users, n_items)` of ones.
        ridge: of the squared weights, positive.
        content: `(n_items, d)` unit rows; zeros where an item has none.
        content_weight: of `F F'` in the Gram matrix.
        memory_mib: bound on the square matrix.

    Raises:
        ConfigError: the square of the catalogue exceeds the bound.
        RunError: the Gram matrix has no inverse in single precision.
    """
    from scipy.linalg.lapack import spotrf, spotri  # as late as SciPy's sparse matrices

    n_items = history.shape[1]
    require_memory(n_items, memory_mib)
    gram = _gram(history, content, content_weight)
    gram.flat[:: n_items + 1] += np.float32(ridge)
    factor, failed = spotrf(gram.T, lower=1, overwrite_a=1, clean=0)
    if not failed:
        factor, failed = spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise RunError(f"EASE with ridge {ridge:g} has no inverse: choose a larger ridge")
    return _to_weights(factor.T)


def _gram(
    history: sp.csr_matrix, content: NDArray[np.float32] | None, content_weight: float
) -> Square:
    by_item, n_items = history.T.tocsr(), history.shape[1]
    gram = np.empty((n_items, n_items), dtype=np.float32)
    for rows in _blocks(n_items):
        (by_item[rows] @ history).toarray(out=gram[rows])
        if content is not None and content_weight:
            gram[rows] += np.float32(content_weight) * (content[rows] @ content.T)
    return gram


def _to_weights(upper: Square) -> Square:
    """`I - P diag(P)^-1` in place of `P`, of which the upper triangle is filled."""
    n_items = len(upper)
    diagonal = upper.diagonal().copy()
    for rows in _blocks(n_items):
        upper[rows, : rows.start] = upper[: rows.start, rows].T
        corner = np.triu(upper[rows, rows])
        upper[rows, rows] = corner + np.triu(corner, 1).T
    for rows in _blocks(n_items):
        upper[rows] /= -diagonal
    upper.flat[:: n_items + 1] = 0.0
    return upper


def _blocks(n_items: int) -> Iterator[slice]:
    """Slices of rows of the square, `BLOCK_BYTES` each."""
    step = max(1, BLOCK_BYTES // (4 * n_items))
    for first in range(0, n_items, step):
        yield slice(first, min(first + step, n_items))


class SquareScores:
    """Scores `X B` with dense weights.

    Args:
        history: `(n_users, n_items)`.
        weights: `(n_items, n_items)`.
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, history: sp.csr_matrix, weights: Square) -> None:
        self.history, self.weights = history, weights
        self.n_users, self.n_items = history.shape

    def __call__(self, users: Tensor, out: Tensor) -> None:
        """Write the scores of `users` into `out`."""
        out.copy_(torch.from_numpy(self.history[users.numpy()] @ self.weights))


@REFERENCES.register("ease", paper="Steck, WWW 2019")
class EASE(Reference):
    """The linear model of items that reconstructs histories best, with a zero diagonal.

    Grid: ridge in 50, 100, 200, 500.

    Args:
        dataset: see `Reference`.
        ridge: of the squared weights.
        memory_mib: bound on the square of the catalogue, which is refused beyond.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        ridge: PositiveFloat = 200.0,
        memory_mib: PositiveInt = MEMORY_MIB,
    ) -> None:
        super().__init__(dataset)
        self.ridge, self.memory_mib = ridge, memory_mib

    def scores(self) -> SquareScores:
        """Of the whole square: no entry is dropped."""
        history = history_matrix(self.dataset)
        return SquareScores(history, ease_weights(history, self.ridge, memory_mib=self.memory_mib))

    @classmethod
    def usable(cls, dataset: Dataset) -> bool:
        """Where the square of the catalogue stays within the default bound."""
        return super().usable(dataset) and fits_memory(dataset.n_items, MEMORY_MIB)

    @classmethod
    def grid(cls, dataset: Dataset) -> Sequence[Mapping[str, Any]]:
        """Four points."""
        return [{"ridge": ridge} for ridge in (50.0, 100.0, 200.0, 500.0)]


@REFERENCES.register("contentease", paper="Steck, WWW 2019, with content in the Gram matrix")
class ContentEASE(Reference):
    """EASE where each content feature is a further user.

    Grid: modality in all and each by itself; content_weight in 20, 50, 100.

    Args:
        dataset: see `Reference`.
        ridge: of the squared weights.
        modality: which features; `all` sets those of all modalities side by side.
        content_weight: of content in the Gram matrix.
        memory_mib: bound on the square of the catalogue, which is refused beyond.
    """

    needs_features = True

    def __init__(
        self,
        dataset: Dataset,
        *,
        ridge: PositiveFloat = 200.0,
        modality: str = ALL,
        content_weight: PositiveFloat = 20.0,
        memory_mib: PositiveInt = MEMORY_MIB,
    ) -> None:
        super().__init__(dataset)
        self.modalities = chosen_modalities(dataset, modality)
        self.ridge, self.content_weight, self.memory_mib = ridge, content_weight, memory_mib

    def scores(self) -> SquareScores:
        """Of the whole square: no entry is dropped."""
        history = history_matrix(self.dataset)
        weights = ease_weights(
            history,
            self.ridge,
            content=content_table(self.dataset, self.modalities).numpy(),
            content_weight=self.content_weight,
            memory_mib=self.memory_mib,
        )
        return SquareScores(history, weights)

    @classmethod
    def usable(cls, dataset: Dataset) -> bool:
        """Where there is content, and the square of the catalogue stays within the bound."""
        return super().usable(dataset) and fits_memory(dataset.n_items, MEMORY_MIB)

    @classmethod
    def grid(cls, dataset: Dataset) -> Sequence[Mapping[str, Any]]:
        """Three points for every modality, and for all together where there are several."""
        return [
            {"modality": name, "content_weight": weight}
            for name in modality_choices(dataset)
            for weight in (20.0, 50.0, 100.0)
        ]
