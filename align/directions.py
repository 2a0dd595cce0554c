"""Scores and directions of a whole catalogue, for reports and for known truths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..tensors.functional import unit_rows, widened
from ..tensors.tables import Table
from .policies import DirectionPolicy, Feedback, OneWay
from .rows import ItemViews, missing_masks
from .scores import direction_name, feedback_scores


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
    masks = missing_masks(missing, tuple(modalities), len(modalities))
    tables = list(modalities.values())
    scores = _Catalogue(user, item, tables, users, items, masks, chunk, feedback).scores()
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
    alignment's own is its attribute `policy`, which does not learn here. The variance of the
    dynamic rule runs over all items that have pairs, or with `spread_decay` is what training left.
    `generator` is for rules that draw.

    Returns:
        `{source}_to_{target}` -> `(n_items,)` bool; False for items without pairs.
    """
    policy = policy or OneWay()
    masks = missing_masks(missing, tuple(modalities), len(modalities))
    tables = list(modalities.values())
    catalogue = _Catalogue(user, item, tables, users, items, masks, chunk, policy.feedback)
    table = catalogue.scores()
    known, table = ~table.isnan(), table.nan_to_num(0.0)
    spread = catalogue.variance(table) if policy.over_users else None
    was_training = policy.training
    policy.eval()  # a rule that learns must not do so here
    active = policy(table, known, generator, spread)
    policy.train(was_training)
    names = ("id", *modalities)
    return {
        direction_name(source, target): active[s, t]
        for s, source in enumerate(names)
        for t, target in enumerate(names)
        if s != t
    }


class _Catalogue(NamedTuple):
    """All items in every view, and the pairs whose users judge them; arguments as above."""

    user: Tensor
    item: Tensor
    tables: Sequence[Table]
    users: Tensor
    items: Tensor
    masks: Sequence[Tensor | None]
    chunk: int
    feedback: Feedback

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Mean scores `(n_modalities, n_items)`; NaN where there is no pair or no row."""
        mean_user, counts = self._mean_users()
        shape = (1 + len(self.tables), len(self.item))
        scores = widened(self.item[:0]).new_full(shape, torch.nan)
        for ids in counts.nonzero().squeeze(1).split(self.chunk):
            views = self._views(ids)
            part = feedback_scores(mean_user[ids], views).to(scores.dtype)
            if views.present is not None:
                part.masked_fill_(~views.present, torch.nan)
            scores[:, ids] = part
        return scores

    @torch.no_grad()
    def variance(self, scores: Tensor) -> Tensor:
        """`scores.user_variance` of all pairs around mean `scores`, `(n_modalities, n_items)`."""
        total = torch.zeros_like(scores)
        for users, items in self._pairs():
            found = feedback_scores(self._user_rows(users), self._views(items))
            total.index_add_(1, items, (found - scores[:, items]).square())
        freedom = (self.items.bincount(minlength=len(self.item)) - 1).clamp_min(1)
        return total / freedom

    def _mean_users(self) -> tuple[Tensor, Tensor]:
        """Mean row of each item's users, `(n_items, dim)`, and the pairs of each item."""
        total = widened(self.user[:0]).new_zeros(len(self.item), self.user.shape[1])
        for users, items in self._pairs():
            total.index_add_(0, items, self._user_rows(users))
        counts = self.items.bincount(minlength=len(self.item))
        return total / counts.clamp_min(1).unsqueeze(1), counts

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.users.split(self.chunk), self.items.split(self.chunk), strict=True)

    def _views(self, ids: Tensor) -> ItemViews:
        """Unit rows for cosines, rows of their own length for inner products."""
        views = ItemViews.gather(self.item, self.tables, ids, self.masks)
        return views if self.feedback == "cosine" else views.unscaled()

    def _user_rows(self, users: Tensor) -> Tensor:
        """Likewise for users, `(len(users), dim)`."""
        rows = widened(self.user.index_select(0, users))
        return unit_rows(rows) if self.feedback == "cosine" else rows
