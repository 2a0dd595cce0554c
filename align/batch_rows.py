"""The rows a batch is about, read, projected and normalised once for all its losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..tensors.functional import unit_rows
from ..tensors.tables import Table, read_rows
from .base import Alignment
from .rows import ItemViews, Pairs, row_lengths


@dataclass(frozen=True)
class BatchRows:
    """Unit rows of the batch's distinct users and items, and of the items around them.

    Attributes:
        pairs: the positive pairs.
        user_rows: `(n_distinct_users, dim)` unit rows.
        user_lengths: `(n_distinct_users,)` what their lengths were, detached.
        views: the distinct items in every modality.
        reach: sorted ids of the items that `around` holds; all distinct items are among them.
        around: the items of `reach` in every modality.
    """

    pairs: Pairs
    user_rows: Tensor
    user_lengths: Tensor
    views: ItemViews
    reach: Tensor
    around: ItemViews

    @classmethod
    def read(
        cls,
        alignment: Alignment,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> BatchRows:
        """The rows that `alignment` reads for a batch; arguments as in `Alignment.terms`."""
        pairs = Pairs.of(users, items)
        reach = alignment.reach(pairs.items)
        content = alignment.content(modalities)
        around = ItemViews.gather(item, content, reach, alignment.missing_masks())
        same = reach is pairs.items
        views = around if same else around.select(torch.searchsorted(reach, pairs.items))
        users_read = read_rows(user, pairs.users)
        lengths = row_lengths(users_read)
        return cls(pairs, unit_rows(users_read), lengths, views, reach, around)


class ReadAhead:
    """A table of which some rows are read at once, so that several losses share them.

    Args:
        table: `(n_items, dim)`.
        ids: sorted ids of the rows to read; the others are read when they are asked for.
        absent: `(n_items,)` bool, rows that are missing and stay unread, zero; or None.
    """

    def __init__(self, table: Table, ids: Tensor, absent: Tensor | None) -> None:
        self.table = table
        self.ids = ids
        self.rows = read_rows(table, ids, None if absent is None else absent[ids])

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        position = torch.searchsorted(self.ids, rows).clamp_max(max(len(self.ids) - 1, 0))
        if not len(self.ids) or not torch.equal(self.ids[position], rows):
            return read_rows(self.table, rows)
        return self.rows.index_select(0, position)
