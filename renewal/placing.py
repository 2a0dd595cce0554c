"""Where new items and new users begin: items by their content, users by what they have."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..datasets import Dataset
from ..models.base import Backbone
from ..models.feature_tables import FeatureTables
from .content_map import content_rows, fit_content_map
from .rows import Ids, Side

MOST_WIDTH = 1024
"""Numbers of a table's row, up to which a regression finds it."""


def place_new_rows(
    tables: dict[str, Tensor], sides: Mapping[str, Side], ids: Ids, dataset: Dataset, seed: int
) -> dict[str, str]:
    """Set the rows of new items, then of new users, in place.

    Both by ridge regression over known rows: of an item's row on its content, of a user's row on
    the mean row of the items that they have in training (Gantner et al., ICDM 2010). Without
    content, items keep the rows they were initialised with; so do users without known company.

    Args:
        tables: name -> table of the new run, known rows already theirs.
        sides: whose rows they are; tables of content itself must not be among them.
        ids: who is who.
        dataset: the new data.
        seed: of what is drawn.

    Returns:
        How each side was placed, in a word: `content`, `history`, `initialised` or `none`.
    """
    items = _placed_items(tables, sides, ids, dataset, seed)
    users = _placed_users(tables, sides, ids, dataset, seed)
    return {"items": items, "users": users}


def content_tables(backbone: Backbone) -> set[str]:
    """Names of parameters whose rows begin as content, so that new ones are placed already."""
    return {
        f"backbone.{name}.{table}"
        for name, module in backbone.named_modules()
        if isinstance(module, FeatureTables)
        for table, _ in module.named_parameters()
    }


def _placed_items(
    tables: Mapping[str, Tensor],
    sides: Mapping[str, Side],
    ids: Ids,
    dataset: Dataset,
    seed: int,
) -> str:
    new, known = ids.item.new, _trained(dataset, "item", ids)
    if not len(new):
        return "none"
    if not dataset.features or len(known) < 2:
        return "initialised"
    for name in _of(tables, sides, "item"):
        flat = tables[name].flatten(1)
        content_map = fit_content_map(flat, dataset.features, dataset.missing, known, seed=seed)
        flat[new] = content_map(*content_rows(dataset.features, dataset.missing, new))
    return "content"


def _placed_users(
    tables: Mapping[str, Tensor],
    sides: Mapping[str, Side],
    ids: Ids,
    dataset: Dataset,
    seed: int,
) -> str:
    new, known = ids.user.new, _trained(dataset, "user", ids)
    if not len(new):
        return "none"
    of_items = [tables[name].flatten(1) for name in _of(tables, sides, "item")]
    profile = _histories(dataset, of_items or list(dataset.features.values()))
    if len(known) < 2 or profile is None:
        return "initialised"
    for name in _of(tables, sides, "user"):
        flat = tables[name].flatten(1)
        history_map = fit_content_map(flat, {"history": profile}, {}, known, seed=seed)
        flat[new] = history_map({"history": profile[new]})
    return "history"


def _of(tables: Mapping[str, Tensor], sides: Mapping[str, Side], side: Side) -> list[str]:
    return [
        name
        for name, whose in sides.items()
        if whose == side and tables[name].flatten(1).shape[1] <= MOST_WIDTH
    ]


def _trained(dataset: Dataset, side: Side, ids: Ids) -> Tensor:
    """Known rows that feedback shapes, `(n,)` int64."""
    rows = dataset.train[0 if side == "user" else 1].unique()
    return rows[ids.of(side).known[rows]]


def _histories(dataset: Dataset, of_items: list[Tensor]) -> Tensor | None:
    """The mean row of every user's training items, `(n_users, d)`; None without item rows."""
    if not of_items:
        return None
    users, items = dataset.train
    table = torch.cat(of_items, dim=1)
    total = table.new_zeros(dataset.n_users, table.shape[1])
    total.index_add_(0, users, table[items])
    counts = users.bincount(minlength=dataset.n_users).clamp_min(1)
    return total / counts.unsqueeze(1)
