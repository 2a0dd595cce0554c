"""The features of items, in the encoder's order of modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError, unknown_name


@dataclass(frozen=True)
class Items:
    """Features of some items.

    Attributes:
        tables: by modality, `(n, width)`.
        present: `(n, n_modalities)` bool, the modalities that each item has.
    """

    tables: list[Tensor]
    present: Tensor

    def __len__(self) -> int:
        return len(self.present)

    def take(self, ids: Tensor | slice, device: torch.device) -> Items:
        """The items `ids`, on `device`."""
        tables = [table[ids].to(device) for table in self.tables]
        return Items(tables, self.present[ids].to(device))


def gather_items(
    widths: Mapping[str, int],
    features: Mapping[str, Tensor],
    *absent: Mapping[str, Tensor] | None,
    dtype: torch.dtype,
) -> Items:
    """Tables in the order of `widths`, and who has which.

    Args:
        widths: modality name -> number of columns, in the order of the encoder.
        features: modality name -> `(n_items, width)`.
        absent: mappings of modality name -> `(n_items,)` bool, True where an item is without it.
        dtype: type to compute in.

    Raises:
        DataError: a modality has no features or of another width, or a mask another length.
        ConfigError: a mask names an unknown modality.
    """
    for name, width in widths.items():
        if name not in features:
            raise DataError(f"no features of '{name}', which the encoder reads: add its table")
        if features[name].shape[1:] != (width,):
            raise DataError(
                f"features of '{name}' have shape {tuple(features[name].shape)}, the encoder reads "
                f"{width} columns: give what it was trained on"
            )
    tables = [features[name].to(dtype) for name in widths]
    present = torch.ones(len(tables[0]), len(tables), dtype=torch.bool)
    for masks in absent:
        for name, mask in (masks or {}).items():
            if name not in widths:
                raise unknown_name("modality", name, widths)
            if mask.shape != present.shape[:1]:
                raise DataError(
                    f"mask of '{name}' has shape {tuple(mask.shape)} for {len(present)} items: "
                    "give one flag for each"
                )
            present[:, list(widths).index(name)] &= ~mask.cpu()
    return Items(tables, present)
