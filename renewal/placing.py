"""Where new items and new users begin: items by their content, users by what they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..datasets import Dataset
from ..models.base import Backbone
from ..models.feature_tables import FeatureTables
from .content_map import fit_content_map
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
    placing = _Placing(tables, sides, ids, dataset, seed)
    return {"items": placing.items(), "users": placing.users()}


def content_tables(backbone: Backbone) -> set[str]:
    """Names of parameters whose rows begin as content, so that new ones are placed already."""
    return {
        f"backbone.{name}.{table}"
        for name, module in backbone.named_modules()
        if isinstance(module, FeatureTables)
        for table, _ in module.named_parameters()
    }


@dataclass(frozen=True)
class _Placing:
    """What `place_new_rows` is given."""

    tables: Mapping[str, Tensor]
    sides: Mapping[str, Side]
    ids: Ids
    dataset: Dataset
    seed: int

    def items(self) -> str:
        """Set the rows of new items; says how."""
        new, known, dataset = self.ids.item.new, self._trained("item"), self.dataset
        if not len(new):
            return "none"
        if not dataset.features or len(known) < 2:
            return "initialised"
        content = (dataset.features, dataset.missing)
        for table in self._tables("item"):
            content_map = fit_content_map(table, *content, known, seed=self.seed)
            table[new] = content_map.of_rows(*content, new)
        return "content"

    def users(self) -> str:
        """Set the rows of new users, once items have theirs; says how."""
        new, known = self.ids.user.new, self._trained("user")
        if not len(new):
            return "none"
        profile = _histories(
            self.dataset, self._tables("item") or [*self.dataset.features.values()]
        )
        if len(known) < 2 or profile is None:
            return "initialised"
        history: tuple[dict[str, Tensor], dict[str, Tensor]] = ({"history": profile}, {})
        for table in self._tables("user"):
            history_map = fit_content_map(table, *history, known, seed=self.seed)
            table[new] = history_map.of_rows(*history, new)
        return "history"

    def _tables(self, side: Side) -> list[Tensor]:
        """Tables of a side `(n, d)`, narrow enough for a regression."""
        flat = [self.tables[name].flatten(1) for name, whose in self.sides.items() if whose == side]
        return [table for table in flat if table.shape[1] <= MOST_WIDTH]

    def _trained(self, side: Side) -> Tensor:
        """Known rows that feedback shapes, `(n,)` int64."""
        rows = self.dataset.train[0 if side == "user" else 1].unique()
        return rows[self.ids.of(side).known[rows]]


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
