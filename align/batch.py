"""The batch of a step: its pairs, and the rows they are about, read when first asked for, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..errors import ConfigError, unknown_name
from ..tensors.functional import unit_rows
from ..tensors.ids import HostIds, Repeated, at_hand
from ..tensors.tables import Table, Tables, read_rows
from .checks import (
    require_alike,
    require_finite,
    require_ids,
    require_one_precision,
    require_same_items,
)

Missing = Mapping[str, Tensor] | Sequence[Tensor | None] | None


@dataclass(frozen=True)
class Views:
    """The same items seen by every modality, the backbone's own (`id`) first.

    Attributes:
        rows: one `(n, dim)` tensor per modality; a missing row is zero.
        present: `(n_modalities, n)` bool, or None when nothing is missing.
    """

    rows: tuple[Tensor, ...]
    present: Tensor | None

    @classmethod
    def read(cls, tables: Sequence[Table], ids: Tensor, missing: Sequence[Tensor | None]) -> Views:
        """Rows `ids` as they stand in the tables of all modalities; missing ones stay unread.

        Raises:
            ConfigError: the tables are not of the same items, or their rows not of one width and
                precision.
        """
        require_same_items(*tables)
        absent = [None if mask is None else mask[ids].bool() for mask in missing]
        rows = tuple(read_rows(t, ids, gap) for t, gap in zip(tables, absent, strict=True))
        require_alike(rows)
        if all(gap is None for gap in absent):
            return cls(rows, None)
        complete = torch.zeros_like(ids, dtype=torch.bool)
        return cls(rows, ~torch.stack([complete if gap is None else gap for gap in absent]))

    @property
    def unit(self) -> Views:
        """The same with rows of length one."""
        return Views(tuple(map(unit_rows, self.rows)), self.present)

    def select(self, positions: Tensor) -> Views:
        """The views of some of the items, `(n,)` positions."""
        rows = tuple(rows.index_select(0, positions) for rows in self.rows)
        return Views(rows, None if self.present is None else self.present[:, positions])

    def detach(self) -> Views:
        """The same without gradients."""
        return Views(tuple(rows.detach() for rows in self.rows), self.present)


class Batch:
    """The positive pairs of a step and the rows they are about.

    Every attribute is computed when it is first asked for, and kept: losses that share a batch
    read, project and normalise a row once, and what none of them asks for is never read.

    Args:
        tables: what rows are read from, content projected to the width of the representations.
        missing: content modality -> `(n_items,)` bool, True where an item lacks it.
        users: `(batch,)` int64 user ids of the positive pairs; None for losses of items alone.
        items: `(batch,)` int64 item ids; repeats are allowed.
        reach: gives, from the distinct items, the sorted ids of all items that losses read.

    Raises:
        ConfigError: ids and tables do not fit together.
    """

    def __init__(
        self,
        tables: Tables,
        missing: Mapping[str, Tensor],
        users: Tensor | None,
        items: Tensor,
        reach: Callable[[Tensor], Tensor] = lambda items: items,
    ) -> None:
        self.tables = tables
        self._masks = (None, *(missing.get(name) for name in tables.modalities))
        self._user_ids, self._item_ids, self._reach_of = users, items, reach
        require_ids("item", items)
        if users is None:
            return
        require_ids("user", users)
        if users.shape != items.shape:
            raise ConfigError(
                f"users {tuple(users.shape)} and items {tuple(items.shape)} must be two vectors "
                "of the same length: one positive pair a position"
            )
        require_one_precision("users and of the items", tables.user, tables.item)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._item_ids)

    @cached_property
    def users(self) -> Repeated:
        """The distinct users of the pairs."""
        if self._user_ids is None:
            raise ValueError("this batch has items alone")
        return _distinct("user", self._user_ids, self.tables.user)

    @cached_property
    def items(self) -> Repeated:
        """The distinct items of the pairs."""
        return _distinct("item", self._item_ids, self.tables.item)

    @cached_property
    def raw_user_rows(self) -> Tensor:
        """`(n_distinct_users, dim)` rows of the distinct users, as they are."""
        return read_rows(self.tables.user, self.users.ids)

    @cached_property
    def user_rows(self) -> Tensor:
        """`(n_distinct_users, dim)` unit rows of the distinct users."""
        return unit_rows(self.raw_user_rows)

    @cached_property
    def reach(self) -> Tensor:
        """Sorted ids of all items that losses read; all distinct items are among them."""
        return self._reach_of(self.items.ids)

    @cached_property
    def raw_around(self) -> Views:
        """The items of `reach`, rows as they are."""
        every = (self.tables.item, *self.tables.modalities.values())
        views = Views.read(every, self.reach, self._masks)
        for name, rows in zip(self.tables.modalities, views.rows[1:], strict=True):
            require_finite(name, rows, self.reach)
        return views

    @cached_property
    def item_around(self) -> Tensor:
        """The items of `reach`, unit rows of their representations; reads no content."""
        read = "around" in self.__dict__
        return self.around.rows[0] if read else unit_rows(read_rows(self.tables.item, self.reach))

    @cached_property
    def around(self) -> Views:
        """The items of `reach`, unit rows."""
        return self.raw_around.unit

    @cached_property
    def views(self) -> Views:
        """The distinct items in every modality, unit rows."""
        return self._distinct_of(self.around)

    @cached_property
    def raw_views(self) -> Views:
        """The distinct items in every modality, rows as they are."""
        return self._distinct_of(self.raw_around)

    @cached_property
    def mean_user(self) -> Tensor:
        """`(n_distinct_items, dim)` mean unit row of each distinct item's users, detached."""
        with torch.no_grad():
            return self.mean_over_users(self.user_rows)

    def mean_over_users(self, rows: Tensor) -> Tensor:
        """Mean of `(n_distinct_users, dim)` rows over the users of each distinct item."""
        total = rows.new_zeros(len(self.items.ids), rows.shape[1])
        total.index_add_(0, self.items.of, rows.index_select(0, self.users.of))
        return total / self.items.counts.unsqueeze(1)

    def positions(self, ids: Tensor) -> Tensor:
        """Where items of `reach` stand in `around`."""
        return torch.searchsorted(self.reach, ids)

    def _distinct_of(self, around: Views) -> Views:
        ids = self.items.ids
        return around if self.reach is ids else around.select(self.positions(ids))


def _distinct(kind: str, ids: Tensor, table: Table) -> Repeated:
    """The distinct ids `(batch,)`, all of which have a row in `table` as far as its size is known.

    Ids on a device should be `HostIds`: else the host waits until it can count them.
    """
    found = Repeated.of_batch(ids)
    known = Repeated.of_batch(ids.host).ids if isinstance(ids, HostIds) else found.ids
    if isinstance(table, Sized) and len(known) and at_hand(known):
        least, most = int(known[0]), int(known[-1])
        if least < 0 or most >= len(table):
            raise ConfigError(
                f"{kind} id {least if least < 0 else most} is outside the table of the {kind}s, "
                f"which has {len(table)} rows: give whole tables, one row for each {kind} of the "
                "catalogue (ids pick from them), and users before items"
            )
    if _has_rows_of_pairs(table, found):
        raise ConfigError(
            f"the table of the {kind}s has a row for each pair of the batch: give whole tables, "
            f"one row for each {kind} of the catalogue; the ids of the batch pick from them"
        )
    return found


@torch.no_grad()
def _has_rows_of_pairs(table: Table, ids: Repeated) -> bool:
    """Whether `table` has as many rows as pairs, and equal ones where an id repeats."""
    n = len(ids.of)
    if not isinstance(table, Tensor) or len(table) != n or len(ids.ids) == n or not at_hand(table):
        return False
    last = torch.empty_like(ids.ids).scatter_(0, ids.of, torch.arange(n))
    return torch.equal(table, table.index_select(0, last[ids.of])) and bool(table.any())


def masks_by_name(missing: Missing, names: Sequence[str], n_named: int) -> dict[str, Tensor]:
    """Masks of the content modalities `names` that have one.

    Args:
        missing: masks by name, or one or None for each content table, in order.
        names: of the content tables; only the first `n_named` of them are known to the caller.
        n_named: number of names that a mapping may use.

    Raises:
        ConfigError: a mapping names an unknown modality, or a sequence has another length.
    """
    if missing is None:
        return {}
    if isinstance(missing, Mapping):
        for name in missing:
            if name not in names[:n_named]:
                raise unknown_name("modality of a missing-row mask", name, names[:n_named])
        return dict(missing)
    if len(missing) != len(names):
        raise ConfigError(
            f"{len(missing)} missing-row masks for {len(names)} content modalities: give one each"
        )
    return {name: mask for name, mask in zip(names, missing, strict=True) if mask is not None}
