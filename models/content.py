"""Content tables of the backbones."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


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

    def __getitem__(self, name: str) -> Tensor:
        """Table of modality `name`, `(n_items, d_m)`."""
        return getattr(self, name)
