"""The content tables of a backbone, frozen or trained."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ..tensors.tables import Projected
from .linear import linear_rows


class FeatureTables(nn.Module):
    """Content tables by modality name: frozen and left out of checkpoints, or trained.

    Args:
        features: modality name -> `(n_items, d_m)`.
        trainable: make trained copies instead of keeping the given tables.
    """

    def __init__(self, features: Mapping[str, Tensor], *, trainable: bool) -> None:
        super().__init__()
        for name, table in features.items():
            if trainable:
                self.register_parameter(name, nn.Parameter(table.clone()))
            else:
                self.register_buffer(name, table, persistent=False)

    def through(self, projectors: nn.ModuleDict) -> Mapping[str, Projected]:
        """Every table seen through the linear map of its name."""
        return {name: _Rows(self[name], layer) for name, layer in projectors.items()}

    def __getitem__(self, name: str) -> Tensor:
        """Table of modality `name`, `(n_items, d_m)`."""
        return getattr(self, name)


class _Rows(Projected):
    """Rows of a table through a linear layer."""

    features: Tensor
    projector: nn.Linear

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        return linear_rows(self.features, rows, self.projector)
