"""How well each modality of an item explains its feedback, and what directions are called."""

from __future__ import annotations

import torch
from torch import Tensor

from .rows import ItemViews, Pairs, mean_users


def feedback_scores(mean_user: Tensor, views: ItemViews) -> Tensor:
    """Mean cosine between an item's users and each of its modalities (FETTLE eq. 2).

    Of rows of their own length on both sides it is the mean inner product, as the equation is
    printed.

    Args:
        mean_user: `(n, dim)` mean of the unit rows of each item's users.
        views: the items in every modality.

    Returns:
        `(n_modalities, n)`, detached; the score of a missing row is 0.
    """
    with torch.no_grad():
        return torch.stack([(mean_user * rows).sum(1) for rows in views.rows])


@torch.no_grad()
def user_variance(user_rows: Tensor, views: ItemViews, pairs: Pairs) -> Tensor:
    """Unbiased variance of each item's score over its users in the batch.

    Args:
        user_rows: `(n_distinct_users, dim)` rows of the users.
        views: the distinct items in every modality.
        pairs: the batch; a repeated pair counts again.

    Returns:
        `(n_modalities, n)`; 0 for items of one pair and for missing rows.
    """
    users = user_rows.index_select(0, pairs.user_of)
    freedom = (pairs.item_counts - 1).clamp_min(1)
    found = []
    for rows, mean in zip(
        views.rows, feedback_scores(mean_users(user_rows, pairs), views), strict=True
    ):
        gap = (users * rows[pairs.item_of]).sum(1) - mean[pairs.item_of]
        found.append(torch.zeros_like(mean).index_add_(0, pairs.item_of, gap.square()) / freedom)
    return torch.stack(found)


def direction_name(source: str, target: str) -> str:
    """Key of a direction: `source_to_target`."""
    return f"{source}_to_{target}"
