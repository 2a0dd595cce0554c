"""How well each modality of an item explains its feedback, and what directions are called."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .rows import ItemViews


def feedback_scores(mean_user: Tensor, views: ItemViews) -> Tensor:
    """Mean cosine between an item's users and each of its modalities (FETTLE eq. 2).

    Args:
        mean_user: `(n, dim)` mean of the unit rows of each item's users.
        views: the items in every modality.

    Returns:
        `(n_modalities, n)`, detached; the score of a missing row is 0.
    """
    with torch.no_grad():
        return torch.stack([(mean_user * rows).sum(1) for rows in views.rows])


def direction_name(source: str, target: str) -> str:
    """Key of a direction: `source_to_target`."""
    return f"{source}_to_{target}"


def direction_names(modalities: Sequence[str]) -> list[str]:
    """Names of all directions between `modalities` and `id`."""
    views = ("id", *modalities)
    return [direction_name(a, b) for a in views for b in views if a != b]
