"""Scores and directions of a whole catalogue, for reports and for known truths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .base import Table
from .functional import unit_rows
from .policies import DirectionPolicy, Feedback, OneWay
from .rows import ItemViews, missing_masks
from .scores import direction_name, feedback_scores


@torch.no_grad()
def catalogue_scores(
    user: Tensor,
    item: Tensor,
    modalities: Mapping[str, Table],
    users: Tensor,
    items: Tensor,
    *,
    missing: Mapping[str, Tensor] | None = None,
    chunk: int = 65536,
    feedback: Feedback = "cosine",
) -> dict[str, Tensor]:
    """Feedback score of every item in every modality over all given pairs.

    Args:
        user: `(n_users, dim)`.
        item: `(n_items, dim)`, the `id` modality.
        modalities: content modality name -> projected `(n_items, dim)` table.
        users: `(n_pairs,)` user ids, usually the whole training split.
        items: `(n_pairs,)` item ids.
        missing: `(n_items,)` bool masks by modality.
        chunk: pairs, and items, handled at a time; memory is `chunk * dim`.
        feedback: mean `cosine` or `inner_product`.

    Returns:
        `id` and every modality -> `(n_items,)` mean with the item's users; NaN for items without
        pairs and for missing rows.
    """
    mean_user, counts = _mean_users(user, users, items, len(item), chunk, feedback)
    masks = missing_masks(missing, tuple(modalities), len(modalities))
    scores = item.new_full((1 + len(modalities), len(item)), torch.nan)
    for ids in counts.nonzero().squeeze(1).split(chunk):
        views = _as_given(ItemViews.gather(item, list(modalities.values()), ids, masks), feedback)
        part = feedback_scores(mean_user[ids], views).to(scores.dtype)
        if views.present is not None:
            part.masked_fill_(~views.present, torch.nan)
        scores[:, ids] = part
    return dict(zip(("id", *modalities), scores, strict=True))


def alignment_directions(
    user: Tensor,
    item: Tensor,
    modalities: Mapping[str, Table],
    users: Tensor,
    items: Tensor,
    policy: DirectionPolicy | None = None,
    *,
    missing: Mapping[str, Tensor] | None = None,
    chunk: int = 65536,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Which directions are active for which item, over all given pairs instead of a batch.

    Arguments as in `catalogue_scores`. `policy` is the rule, by default FETTLE's one-way rule; an
    alignment's own is its attribute `policy`. The dynamic rule's variance runs over all items that
    have pairs. `generator` is for rules that draw.

    Returns:
        `{source}_to_{target}` -> `(n_items,)` bool; False for items without pairs.
    """
    policy = policy or OneWay()
    args = (user, item, modalities, users, items)
    scores = catalogue_scores(*args, missing=missing, chunk=chunk, feedback=policy.feedback)
    table = torch.stack(list(scores.values()))
    known, table = ~table.isnan(), table.nan_to_num(0.0)
    spread = None
    if policy.over_users:
        masks = missing_masks(missing, tuple(modalities), len(modalities))
        spread = _catalogue_variance(*args, table, masks, chunk, policy.feedback)
    active = policy(table, known, generator, spread)
    return {
        direction_name(source, target): active[s, t]
        for s, source in enumerate(scores)
        for t, target in enumerate(scores)
        if s != t
    }


def _as_given(views: ItemViews, feedback: Feedback) -> ItemViews:
    """Unit rows for cosines, rows of their own length for inner products."""
    return views if feedback == "cosine" else views.unscaled()


def _user_rows(user: Tensor, users: Tensor, feedback: Feedback) -> Tensor:
    """Likewise for users, `(len(users), dim)`."""
    rows = user.index_select(0, users)
    return unit_rows(rows) if feedback == "cosine" else rows


@torch.no_grad()
def _catalogue_variance(
    user: Tensor,
    item: Tensor,
    modalities: Mapping[str, Table],
    users: Tensor,
    items: Tensor,
    scores: Tensor,
    masks: Sequence[Tensor | None],
    chunk: int,
    feedback: Feedback,
) -> Tensor:
    """`scores.user_variance` over all pairs, `(n_modalities, n_items)`, around mean `scores`."""
    total = torch.zeros_like(scores)
    for some_users, some_items in zip(users.split(chunk), items.split(chunk), strict=True):
        views = ItemViews.gather(item, list(modalities.values()), some_items, masks)
        found = feedback_scores(_user_rows(user, some_users, feedback), _as_given(views, feedback))
        total.index_add_(1, some_items, (found - scores[:, some_items]).square())
    freedom = (items.bincount(minlength=len(item)) - 1).clamp_min(1)
    return total / freedom


def _mean_users(
    user: Tensor, users: Tensor, items: Tensor, n_items: int, chunk: int, feedback: Feedback
) -> tuple[Tensor, Tensor]:
    """Mean row of each item's users, `(n_items, dim)`, and the pairs of each item."""
    total = user.new_zeros(n_items, user.shape[1])
    for some_users, some_items in zip(users.split(chunk), items.split(chunk), strict=True):
        total.index_add_(0, some_items, _user_rows(user, some_users, feedback))
    counts = items.bincount(minlength=n_items)
    return total / counts.clamp_min(1).unsqueeze(1), counts
