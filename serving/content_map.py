"""How well vectors made from content stand in for trained ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ..renewal.content_map import ContentMap, fit_content_map

__all__ = [
    "ContentMap",
    "MapQuality",
    "fit_content_map",
    "judge_content_map",
    "judge_unbought",
    "ranking_auc",
]

HELD_OUT = 0.1
MOST_PAIRS = 200_000
DRAWS = 100
"""Other items that a held-out one is compared with."""


@dataclass(frozen=True)
class MapQuality:
    """How well vectors made from content stand in for trained ones, on items left out of the fit.

    Attributes:
        items: items left out.
        cosine: mean cosine of their made and their trained vectors.
        cosine_of_others: the same with the trained vector of another of these items.
        auc: how often a user's own item of these scores above another one; a half is chance.
        auc_trained: the same with trained vectors.
    """

    items: int
    cosine: float
    cosine_of_others: float
    auc: float
    auc_trained: float


def judge_content_map(
    user: Tensor,
    item: Tensor,
    features: Mapping[str, Tensor],
    missing: Mapping[str, Tensor],
    pairs: Tensor,
    *,
    seed: int = 0,
) -> MapQuality | None:
    """Fit a map without a tenth of the trained items, and try it on them.

    Users were trained with their pairs of these items too, so `auc` is on the bright side, like
    that of trained vectors beside it.

    Args:
        user: `(n_users, dim)` representations.
        item: `(n_items, dim)` representations.
        features: modality -> `(n_items, d_m)`.
        missing: modality -> `(n_items,)` bool.
        pairs: `(2, n)` int64 training pairs.
        seed: of what is drawn.

    Returns:
        None where fewer than two items can be left out.
    """
    rng = torch.Generator().manual_seed(seed)
    trained = pairs[1].unique()
    trained = trained[torch.randperm(len(trained), generator=rng)]
    n = int(HELD_OUT * len(trained))
    if n < 2:
        return None
    held = trained[:n]
    content_map = fit_content_map(item, features, missing, trained[n:], seed=seed)
    made = content_map.of_rows(features, missing, held)
    theirs = item[held]
    place = torch.full((len(item),), -1)
    place[held] = torch.arange(n)
    users, items = pairs[0], place[pairs[1]]
    users, items = users[items >= 0], items[items >= 0]
    some = torch.randperm(len(users), generator=rng)[:MOST_PAIRS]
    users, items = users[some], items[some]
    others = (items + torch.randint(1, n, items.shape, generator=rng)) % n
    return MapQuality(
        n,
        float(cosine_similarity(made, theirs).mean()),
        float(cosine_similarity(made, theirs.roll(1, 0)).mean()),
        ranking_auc(user, made, users, items, others),
        ranking_auc(user, theirs, users, items, others),
    )


def judge_unbought(user: Tensor, item: Tensor, pairs: Tensor, bought: Tensor) -> float | None:
    """How often a held-out item that nobody bought in training scores above another such item.

    Nothing was trained with these pairs. None with fewer than two such items.

    Args:
        user: `(n_users, dim)`.
        item: `(n_items, dim)`.
        pairs: `(2, n)` int64 held-out pairs.
        bought: `(n_items,)` bool, the items with training interactions.
    """
    users, items = pairs[:, ~bought[pairs[1]]]
    distinct, place = items.unique(return_inverse=True)
    n = len(distinct)
    if n < 2:
        return None
    rng = torch.Generator().manual_seed(0)
    rows = torch.arange(len(users)).repeat(DRAWS)
    others = (place[rows] + torch.randint(1, n, rows.shape, generator=rng)) % n
    return ranking_auc(user, item[distinct], users[rows], place[rows], others)


def ranking_auc(user: Tensor, item: Tensor, users: Tensor, items: Tensor, others: Tensor) -> float:
    """How often `items` score above `others` for `users`, all `(n,)` int64; ties count half."""
    margin = (user[users] * (item[items] - item[others])).sum(1)
    return float((margin.sign() + 1).mean() / 2)
