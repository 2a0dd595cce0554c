"""How well each modality of an item explains its feedback, and who shall learn from whom."""

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


@torch.no_grad()
def active_directions(scores: Tensor, present: Tensor | None, leaky_bi: bool) -> Tensor:
    """Which direction `source -> target` is active for which item.

    The one-way rule (FETTLE eq. 5) lets the weaker modality learn from the stronger one. The
    dynamic rule (CROSS) compensates the target's score first, so that a direction against the
    gradient of quality opens as long as the gap is small and scores are uncertain.

    Args:
        scores: `(n_modalities, n)`.
        present: `(n_modalities, n)` bool, or None; a direction needs both its ends.
        leaky_bi: False for the one-way rule, True for the dynamic one.

    Returns:
        `(source, target, n)` bool; ties are inactive in the one-way rule.
    """
    n_modalities = len(scores)
    target = compensated(scores, present) if leaky_bi else scores
    active = target.unsqueeze(0) > scores.unsqueeze(1)
    active &= ~torch.eye(n_modalities, dtype=torch.bool, device=scores.device).unsqueeze(2)
    if present is not None:
        active &= present.unsqueeze(0) & present.unsqueeze(1)
    return active


def compensated(scores: Tensor, present: Tensor | None = None) -> Tensor:
    """Scores plus `v (exp(1 - s) - 1)`, with `v` the variance of the modality over the items.

    The unbiased variance runs over the present items; it is 0 when there are fewer than two.
    """
    weight = torch.ones_like(scores) if present is None else present.to(scores.dtype)
    n = weight.sum(1, keepdim=True)
    mean = (scores * weight).sum(1, keepdim=True) / n.clamp_min(1)
    spread = ((scores - mean).square() * weight).sum(1, keepdim=True)
    return scores + spread / (n - 1).clamp_min(1) * torch.expm1(1 - scores)


def direction_name(source: str, target: str) -> str:
    """Key of a direction: `source_to_target`."""
    return f"{source}_to_{target}"


def direction_names(modalities: Sequence[str]) -> list[str]:
    """Names of all directions between `modalities` and `id`."""
    views = ("id", *modalities)
    return [direction_name(a, b) for a in views for b in views if a != b]
