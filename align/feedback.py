"""How well each modality of an item explains its feedback: of a batch, and of a catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..tensors.functional import unit_rows, widened
from ..tensors.tables import Tables
from .batch import Batch, Views
from .directions import direction_name
from .rules import DirectionPolicy, Feedback, OneWay


@torch.no_grad()
def feedback_scores(mean_user: Tensor, views: Views) -> Tensor:
    """Mean cosine between an item's users and each of its modalities (FETTLE eq. 2).

    Of rows of their own length on both sides it is the mean inner product, as the equation is
    printed.

    Args:
        mean_user: `(n, dim)` mean of the unit rows of each item's users.
        views: the items in every modality.

    Returns:
        `(n_modalities, n)`, detached; the score of a missing row is 0.
    """
    return torch.stack([(mean_user * rows).sum(1) for rows in views.rows])


@torch.no_grad()
def open_directions(policy: DirectionPolicy, batch: Batch, scores: Tensor) -> Tensor:
    """The directions that `policy` opens for the distinct items, `(source, target, n)` bool.

    Args:
        policy: the rule.
        batch: the pairs; a repeated pair counts again.
        scores: `(n_modalities, n)` mean cosines; a rule on inner products computes its own.
    """
    user_rows, views = batch.user_rows, batch.views
    if policy.feedback == "inner_product":
        user_rows, views = batch.raw_user_rows, batch.raw_views
        scores = feedback_scores(batch.mean_over_users(user_rows), views)
    variance = user_variance(user_rows, views, batch) if policy.over_users else None
    return policy(scores, views.present, user_variance=variance)


@torch.no_grad()
def user_variance(user_rows: Tensor, views: Views, batch: Batch) -> Tensor:
    """Unbiased variance of each item's score over its users in the batch.

    Args:
        user_rows: `(n_distinct_users, dim)` rows of the users.
        views: the distinct items in every modality.
        batch: the pairs; a repeated pair counts again.

    Returns:
        `(n_modalities, n)`; 0 for items of one pair and for missing rows.
    """
    of, users = batch.items.of, user_rows.index_select(0, batch.users.of)
    freedom = (batch.items.counts - 1).clamp_min(1)
    means = feedback_scores(batch.mean_over_users(user_rows), views)
    found = []
    for rows, mean in zip(views.rows, means, strict=True):
        gap = (users * rows[of]).sum(1) - mean[of]
        found.append(torch.zeros_like(mean).index_add_(0, of, gap.square()) / freedom)
    return torch.stack(found)


class Catalogue(NamedTuple):
    """All items in every view, and the pairs whose users judge them, a chunk at a time.

    Args:
        tables: `(n_users, dim)` and `(n_items, dim)` representations, and projected content.
        users: `(n_pairs,)` user ids, usually of the whole training split.
        items: `(n_pairs,)` item ids.
        missing: modality -> `(n_items,)` bool.
        feedback: mean `cosine` or `inner_product`.
        chunk: pairs, and items, handled at a time; memory is `chunk * dim`.
    """

    tables: Tables
    users: Tensor
    items: Tensor
    missing: Mapping[str, Tensor] = {}
    feedback: Feedback = "cosine"
    chunk: int = 65536

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Mean scores `(n_modalities, n_items)`; NaN where there is no pair or no row."""
        mean_user, counts = self._mean_users()
        shape = (1 + len(self.tables.modalities), len(self.tables.item))
        scores = widened(self.tables.item[:0]).new_full(shape, torch.nan)
        for ids in counts.nonzero().squeeze(1).split(self.chunk):
            views = self._views(ids)
            part = feedback_scores(mean_user[ids], views).to(scores.dtype)
            if views.present is not None:
                part.masked_fill_(~views.present, torch.nan)
            scores[:, ids] = part
        return scores

    @torch.no_grad()
    def variance(self, scores: Tensor) -> Tensor:
        """`user_variance` of all pairs around mean `scores`, `(n_modalities, n_items)`."""
        total = torch.zeros_like(scores)
        for users, items in self._pairs():
            found = feedback_scores(self._user_rows(users), self._views(items))
            total.index_add_(1, items, (found - scores[:, items]).square())
        return total / (self._counts() - 1).clamp_min(1)

    def _mean_users(self) -> tuple[Tensor, Tensor]:
        """Mean row of each item's users, `(n_items, dim)`, and the pairs of each item."""
        user, item = self.tables.user, self.tables.item
        total = widened(user[:0]).new_zeros(len(item), user.shape[1])
        for users, items in self._pairs():
            total.index_add_(0, items, self._user_rows(users))
        counts = self._counts()
        return total / counts.clamp_min(1).unsqueeze(1), counts

    def _counts(self) -> Tensor:
        return self.items.bincount(minlength=len(self.tables.item))

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.users.split(self.chunk), self.items.split(self.chunk), strict=True)

    def _views(self, ids: Tensor) -> Views:
        """Unit rows for cosines, rows of their own length for inner products."""
        content = self.tables.modalities
        masks = (None, *(self.missing.get(name) for name in content))
        views = Views.read((self.tables.item, *content.values()), ids, masks)
        return views.unit if self.feedback == "cosine" else views

    def _user_rows(self, users: Tensor) -> Tensor:
        """Likewise for users, `(len(users), dim)`."""
        rows = widened(self.tables.user.index_select(0, users))
        return unit_rows(rows) if self.feedback == "cosine" else rows


def alignment_directions(
    tables: Tables,
    users: Tensor,
    items: Tensor,
    policy: DirectionPolicy | None = None,
    *,
    missing: Mapping[str, Tensor] | None = None,
    chunk: int = 65536,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Which directions are active for which item, over all given pairs instead of a batch.

    The variance of the dynamic rule runs over all items that have pairs, or with `spread_decay`
    is what training left.

    Args:
        tables: representations and projected content.
        users: `(n_pairs,)` user ids, usually of the whole training split.
        items: `(n_pairs,)` item ids.
        policy: the rule, by default FETTLE's one-way rule; an alignment's own is its attribute
            `policy`, which does not learn here.
        missing: modality -> `(n_items,)` bool.
        chunk: pairs, and items, handled at a time; memory is `chunk * dim`.
        generator: for rules that draw.

    Returns:
        `{source}_to_{target}` -> `(n_items,)` bool; False for items without pairs.
    """
    policy = policy or OneWay()
    catalogue = Catalogue(tables, users, items, missing or {}, policy.feedback, chunk)
    scores = catalogue.scores()
    known, scores = ~scores.isnan(), scores.nan_to_num(0.0)
    spread = catalogue.variance(scores) if policy.over_users else None
    was_training = policy.training
    policy.eval()  # a rule that learns must not do so here
    active = policy(scores, known, generator, spread)
    policy.train(was_training)
    names = ("id", *tables.modalities)
    return {
        direction_name(source, target): active[s, t]
        for s, source in enumerate(names)
        for t, target in enumerate(names)
        if s != t
    }
