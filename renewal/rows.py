"""Which rows of an earlier run's tables belong to which rows of a new one's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..errors import RunError
from ..models.base import Backbone

Side = Literal["user", "item"]
Moments = dict[str, dict[str, Tensor]]
"""Name of a parameter -> `step`, `exp_avg` and `exp_avg_sq` of Adam."""


@dataclass(frozen=True)
class RowMap:
    """Where the rows of a new table stood in an earlier one.

    Attributes:
        source: `(n,)` int64, rows of the earlier table; -1 for new ones.
        n_before: rows that the earlier table has.
    """

    source: Tensor
    n_before: int

    @classmethod
    def of_ids(cls, before: np.ndarray, now: np.ndarray) -> RowMap:
        """Match ids, each of which stands once, as text."""
        places = pd.Index(before).get_indexer(pd.Index(now))
        return cls(torch.from_numpy(places.astype(np.int64)), len(before))

    @property
    def known(self) -> Tensor:
        """`(n,)` bool, rows that the earlier table has."""
        return self.source >= 0

    @property
    def new(self) -> Tensor:
        """`(m,)` int64, rows that it does not have."""
        return (~self.known).nonzero().squeeze(1)

    def counts(self) -> dict[str, int]:
        """How many rows were known, are new, and are gone."""
        known = int(self.known.sum())
        return {"known": known, "new": len(self.source) - known, "gone": self.n_before - known}

    def moved(self, before: Tensor, fresh: Tensor) -> Tensor:
        """The rows of `before` where they stand now, and those of `fresh` `(n, ...)` elsewhere."""
        found = fresh.clone()
        found[self.known] = before[self.source[self.known]].to(found)
        return found

    def is_identity(self) -> bool:
        """Whether every row stays where it was."""
        same = len(self.source) == self.n_before
        return same and torch.equal(self.source, torch.arange(self.n_before))


@dataclass(frozen=True)
class Ids:
    """The two maps of a new data set onto an earlier one."""

    user: RowMap
    item: RowMap

    def of(self, side: Side) -> RowMap:
        """The map of one side."""
        return self.user if side == "user" else self.item


def side_of_tables(
    backbone: Backbone, before: Mapping[str, Tensor], now: Mapping[str, Tensor], ids: Ids
) -> dict[str, Side]:
    """Names of the tables with a row for each user, or for each item, and of which.

    Only a backbone has such tables; they are known by their number of rows in both runs. Where
    that leaves a doubt which matters, what the backbone declares decides.

    Args:
        backbone: the new one.
        before: earlier tables by their state-dict names, which start with `backbone.` there.
        now: new ones, of the same names.
        ids: who is who.

    Raises:
        RunError: a doubt is left.
    """
    declared = {**backbone.row_tables, **backbone.loss_tables}
    found: dict[str, Side] = {}
    for name, table in now.items():
        if not name.startswith("backbone."):
            continue
        sides = _possible(before[name], table, ids)
        said = declared.get(name.removeprefix("backbone."))
        if said is not None and said in sides:
            found[name] = said
        elif sides:
            whole = before[name].shape == table.shape
            if (len(sides) > 1 or whole) and not all(ids.of(side).is_identity() for side in sides):
                raise RunError(
                    f"it cannot be told whose the {len(table)} rows of {name} are, since other "
                    "things are as many: train from nothing"
                )
            found[name] = sides[0]
    return found


def _possible(before: Tensor, now: Tensor, ids: Ids) -> list[Side]:
    """The sides that have as many rows, then and now."""
    if not now.dim() or before.shape[1:] != now.shape[1:] or not before.dim():
        return []
    sides: tuple[Side, ...] = ("user", "item")
    return [
        side
        for side in sides
        if (len(before), len(now)) == (ids.of(side).n_before, len(ids.of(side).source))
    ]


def carry_moments(moments: Moments, sides: Mapping[str, Side], ids: Ids) -> Moments:
    """Adam's moments for the new tables.

    A new row gets the mean second moment of the known ones, so that its first steps are no longer
    than theirs, and no first moment.

    Args:
        moments: of the earlier run.
        sides: what `side_of_tables` found.
        ids: who is who.
    """
    found: Moments = {}
    for name, state in moments.items():
        found[name] = dict(state)
        if name in sides:
            rows = ids.of(sides[name])
            first, second = state["exp_avg"], state["exp_avg_sq"]
            shape = (len(rows.source), *first.shape[1:])
            found[name]["exp_avg"] = rows.moved(first, first.new_zeros(shape))
            usual = second[rows.source[rows.known]].mean(0).nan_to_num().expand(shape)
            found[name]["exp_avg_sq"] = rows.moved(second, usual)
    return found
