"""The validated, immutable data set that everything else starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from .validate import check_dataset

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class ItemGraph:
    """A ready item-item neighbour graph of one modality.

    Attributes:
        edges: `(2, n_edges)` int64, rows item and neighbour.
        similarity: `(n_edges,)` float32, cosine of the pair.
    """

    edges: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class Dataset:
    """Interactions in three splits, item content, and the maps back to the original ids.

    Construction validates everything and raises `DataError` that says what is wrong, where, and
    how to mend it. Tensors lie on the CPU.

    Attributes:
        name: short name for reports.
        n_users: number of users; ids are `0 .. n_users - 1`.
        n_items: number of items; ids are `0 .. n_items - 1`.
        train: `(2, n)` int64, rows users and items; no pair stands twice within a split.
        valid: `(2, n)` int64; every user has a training row.
        test: `(2, n)` int64; every user has a training row.
        features: modality name -> `(n_items, d)` float32, finite; missing rows hold zeros.
            float64 is taken and made float32.
        missing: modality name -> `(n_items,)` bool, True where an item lacks the modality;
            a modality without an entry is complete.
        item_graphs: modality name -> ready neighbour graph, instead of or beside features.
        user_ids: `(n_users,)` original ids; None if the ids are the original ones.
        item_ids: `(n_items,)` original ids; None if the ids are the original ones.
        dropped: split name -> number of held-out rows left out because their user has no
            training row.
        truth: `(n_items,)` int64 index into `modalities` of the modality that carries the
            preference signal (planted data only), else None.
        notes: warnings of the reader, for `describe`.
    """

    name: str
    n_users: int
    n_items: int
    train: Tensor
    valid: Tensor
    test: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    missing: Mapping[str, Tensor] = field(default_factory=dict)
    item_graphs: Mapping[str, ItemGraph] = field(default_factory=dict)
    user_ids: np.ndarray | None = None
    item_ids: np.ndarray | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    truth: Tensor | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_dataset(self)
        tables = {name: table.float() for name, table in self.features.items()}
        object.__setattr__(self, "features", tables)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the content modalities that have features, in a fixed order."""
        return tuple(self.features)

    def split(self, name: str) -> Tensor:
        """The `(2, n)` pairs of split `name` (train, valid or test)."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]
