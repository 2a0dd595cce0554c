"""Matrix factorisation by alternating least squares on implicit feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from threadpoolctl import threadpool_limits

from ..datasets.dataset import Dataset
from ..tensors.representations import Representations
from .base import REFERENCES, Reference
from .inputs import history_matrix


@REFERENCES.register("ials", paper="Hu, Koren and Volinsky, ICDM 2008")
class IALS(Reference):
    """Implicit-feedback matrix factorisation, by the `implicit` library on the CPU.

    Grid: confidence in 2, 10, 50; regularization in 0.1, 1, 10; dim 64, 15 iterations.

    Args:
        dataset: see `Reference`.
        dim: number of factors.
        confidence: weight of an interaction; every other pair weighs one.
        regularization: weight of the squared factors.
        iterations: passes over users and items.
        seed: of the initial factors.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        dim: PositiveInt = 64,
        confidence: PositiveFloat = 10.0,
        regularization: PositiveFloat = 1.0,
        iterations: PositiveInt = 15,
        seed: NonNegativeInt = 0,
    ) -> None:
        super().__init__(dataset)
        self.options: dict[str, Any] = {
            "factors": dim,
            "alpha": confidence,
            "regularization": regularization,
            "iterations": iterations,
            "random_state": seed,
        }

    def scores(self) -> Representations:
        """User and item factors."""
        from implicit.cpu.als import AlternatingLeastSquares  # imports SciPy

        # its own threads take a user each; more threads inside them only get in their way
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(**self.options, num_threads=torch.get_num_threads())
            model.fit(history_matrix(self.dataset), show_progress=False)
        return Representations(
            torch.from_numpy(model.user_factors), torch.from_numpy(model.item_factors)
        )

    @classmethod
    def grid(cls, dataset: Dataset) -> Sequence[Mapping[str, Any]]:
        """Nine points."""
        return [
            {"confidence": confidence, "regularization": regularization}
            for confidence in (2.0, 10.0, 50.0)
            for regularization in (0.1, 1.0, 10.0)
        ]
