"""Item-based collaborative filtering where items are similar by content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import PositiveInt

from ..datasets.dataset import Dataset
from .base import REFERENCES, Reference
from .inputs import ALL, chosen_modalities, content_table, history_matrix, modality_choices
from .item_cf import NeighborScores, ShrunkCosine, nearest_items


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
        self.modalities, self.k = chosen_modalities(dataset, modality), k

    def scores(self) -> NeighborScores:
        """Summed similarity of the history."""
        cosine = ShrunkCosine(content_table(self.dataset, self.modalities), shrink=0.0)
        return NeighborScores(history_matrix(self.dataset), nearest_items(cosine, self.k))

    @classmethod
    def grid(cls, dataset: Dataset) -> Sequence[Mapping[str, Any]]:
        """Four points for every modality, and for all together where there are several."""
        names = modality_choices(dataset)
        return [{"modality": name, "k": k} for name in names for k in (10, 20, 50, 100)]
