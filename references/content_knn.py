"""Item-based collaborative filtering where items are similar by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import PositiveInt

from ..datasets.dataset import Dataset
from ..errors import unknown_name
from .base import REFERENCES, Reference
from .inputs import content_table, history_matrix
from .item_cf import NeighborScores, ShrunkCosine, nearest_items

ALL = "all"


@REFERENCES.register("contentknn", paper="item-CF of AlignRec, CIKM 2024, on normalised features")
class ContentKNN(Reference):
    """Item-based collaborative filtering with the cosine of content features.

    An item is its own nearest neighbour; since a history is not ranked, that only takes a place.
    Rows are scaled to length one, modality by modality, so that none outweighs the others.

    Grid: modality in all and each by itself; k in 10, 20, 50, 100.

    Args:
        dataset: see `Reference`.
        modality: which features; `all` sets those of all modalities side by side.
        k: neighbours kept for each item of the history.
    """

    needs_features = True

    def __init__(self, dataset: Dataset, *, modality: str = ALL, k: PositiveInt = 20) -> None:
        super().__init__(dataset)
        if modality not in (ALL, *dataset.modalities):
            raise unknown_name("modality", modality, (ALL, *dataset.modalities))
        self.modality, self.k = modality, k

    def scores(self) -> NeighborScores:
        """Summed similarity of the history."""
        names = self.dataset.modalities if self.modality == ALL else (self.modality,)
        cosine = ShrunkCosine(content_table(self.dataset, names), shrink=0.0)
        return NeighborScores(history_matrix(self.dataset), nearest_items(cosine, self.k))

    @classmethod
    def grid(cls, dataset: Dataset) -> Sequence[Mapping[str, Any]]:
        """Four points for every modality, and for all together where there are several."""
        several = len(dataset.modalities) > 1
        names = [*([ALL] if several else []), *dataset.modalities]
        return [{"modality": name, "k": k} for name in names for k in (10, 20, 50, 100)]
