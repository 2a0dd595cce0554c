"""Nearest items of an item, view by view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..datasets import Dataset
from ..errors import ConfigError
from ..probes import Views


class Near(NamedTuple):
    """A neighbour."""

    item: int
    cosine: float


def nearest_items(views: Views, item: int, k: int) -> dict[str, list[Near]]:
    """View -> the `k` items of highest cosine, best first; of equal ones, the lower id.

    A view that the item lacks has none; items that lack the view are no neighbours.
    """
    found = {}
    for name, table in views.items.items():
        scores = table @ table[item]
        scores[~views.present[name]] = -math.inf
        scores[item] = -math.inf
        order = torch.sort(scores, descending=True, stable=True).indices[:k].tolist()
        known = bool(views.present[name][item])
        near = [Near(other, float(scores[other])) for other in order if known]
        found[name] = [other for other in near if math.isfinite(other.cosine)]
    return found


def chosen_items(dataset: Dataset, asked: Sequence[str] | None, *, usual: int = 3) -> list[int]:
    """Item numbers of the ids `asked`, as the data files have them; None takes popular items.

    Args:
        dataset: the data.
        asked: original ids; where the data set has none of its own, numbers from 0.
        usual: how many of the items with most training interactions are taken for None.

    Raises:
        ConfigError: the data set has no such item.
    """
    if asked is None:
        counts = torch.bincount(dataset.train[1], minlength=dataset.n_items)
        return torch.sort(counts, descending=True, stable=True).indices[:usual].tolist()
    number_of = {str(name): item for item, name in enumerate(original_ids(dataset))}
    for name in asked:
        if name not in number_of:
            known = list(number_of)
            raise ConfigError(
                f"{dataset.name} has no item '{name}': its {len(known)} ids are like "
                f"{known[0]} and {known[-1]}"
            )
    return [number_of[name] for name in asked]


def original_ids(dataset: Dataset) -> np.ndarray:
    """`(n_items,)` ids as the data files have them."""
    return np.arange(dataset.n_items) if dataset.item_ids is None else dataset.item_ids
