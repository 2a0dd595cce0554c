"""Regressed-neighbour alignment (RNA): an item shall resemble the items that predict it best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from .base import ALIGNERS, Alignment, NeighborKind
from .batch import Batch, Views
from .neighbor import CNALoss


@dataclass(eq=False, repr=False)
class RNALoss(CNALoss):
    """The contrast of `CNALoss` in the item representation alone, term `rna`.

    Give it the neighbours that `graphs.regressed_neighbors` finds. Content acts through them: it
    is not read here, and no view is pulled towards it. Items and neighbours both move.
    """

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """The contrast of each distinct item with the mean of its neighbours, as `rna`."""
        return {"rna": self.contrast(batch, Views((batch.item_around,), None))[0]}


@ALIGNERS.register("rna", paper="this library")
@dataclass(kw_only=True, eq=False, repr=False)
class RegressedNeighborAlignment(Alignment):
    """Contrast of each item with the items that predict it best, from feedback and content.

    Items are regressed on the items nearest by feedback and by content, where content counts as far
    as feedback confirms it and for less the more users an item has (`graphs.regression`). See
    `RNALoss`.

    Args:
        weight: weight of the contrast; try 1e-3 to 3e-2.
        temperature: of the contrast, constant; try 0.1 to 0.3.
    """

    reads_content: ClassVar[bool] = False
    needs_neighbors: ClassVar[bool] = True
    neighbors_by: ClassVar[NeighborKind] = "regression"

    weight: float = 0.01
    temperature: float = 0.2

    def __post_init__(self, *data: Any) -> None:
        super().__post_init__(*data)
        self.rna = RNALoss(data[-1], self.temperature, modalities=self.modalities)
        self.weigh("rna", self.weight)
