"""From tables and id vectors to the few distinct rows a batch is about."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import ConfigError, unknown_name
from .base import Table, rows_of
from .functional import unit_rows

Method = TypeVar("Method", bound=Callable[..., Any])
Missing = Mapping[str, Tensor] | Sequence[Tensor | None] | None


@dataclass(frozen=True)
class Pairs:
    """The positive pairs of a batch, written over its distinct users and items.

    Attributes:
        users: `(n_distinct_users,)` int64, sorted ids.
        items: `(n_distinct_items,)` int64, sorted ids.
        user_of: `(batch,)` position of each pair's user in `users`.
        item_of: `(batch,)` position of each pair's item in `items`.
        user_counts: `(n_distinct_users,)` pairs of each user.
        item_counts: `(n_distinct_items,)` pairs of each item.
    """

    users: Tensor
    items: Tensor
    user_of: Tensor
    item_of: Tensor
    user_counts: Tensor
    item_counts: Tensor

    @classmethod
    def of(cls, users: Tensor, items: Tensor) -> Pairs:
        """The pairs `(users[b], items[b])`; repeats are allowed."""
        if users.shape != items.shape or users.dim() != 1:
            raise ConfigError(
                f"users {tuple(users.shape)} and items {tuple(items.shape)} must be two vectors "
                "of the same length: one positive pair a position"
            )
        user_ids, user_of, user_counts = users.unique(return_inverse=True, return_counts=True)
        item_ids, item_of, item_counts = items.unique(return_inverse=True, return_counts=True)
        return cls(user_ids, item_ids, user_of, item_of, user_counts, item_counts)

    def __len__(self) -> int:
        return len(self.user_of)


@dataclass(frozen=True)
class ItemViews:
    """The same items seen by every modality, the backbone's own (`id`) first.

    Attributes:
        rows: one `(n, dim)` tensor of unit rows per modality; a missing row is zero.
        present: `(n_modalities, n)` bool, or None when nothing is missing.
    """

    rows: tuple[Tensor, ...]
    present: Tensor | None

    @classmethod
    def gather(
        cls, item: Table, content: Sequence[Table], ids: Tensor, missing: Sequence[Tensor | None]
    ) -> ItemViews:
        """Read and normalise the rows `ids` of every table, leaving missing ones unread."""
        absent = (None, *(None if mask is None else mask[ids].bool() for mask in missing))
        rows = tuple(
            unit_rows(read_rows(table, ids, gap))
            for table, gap in zip((item, *content), absent, strict=True)
        )
        if all(gap is None for gap in absent):
            return cls(rows, None)
        complete = torch.zeros_like(ids, dtype=torch.bool)
        return cls(rows, ~torch.stack([complete if gap is None else gap for gap in absent]))

    def select(self, positions: Tensor) -> ItemViews:
        """The views of some of the items, `(n,)` positions."""
        rows = tuple(rows.index_select(0, positions) for rows in self.rows)
        return ItemViews(rows, None if self.present is None else self.present[:, positions])


def read_rows(table: Table, ids: Tensor, absent: Tensor | None = None) -> Tensor:
    """`table[ids]`, `(len(ids), dim)`, at least float32; rows marked `absent` are zero, unread."""
    if absent is not None and bool(absent.any()):
        kept = (~absent).nonzero().squeeze(1)
        read = read_rows(table, ids[kept])
        return read.new_zeros(len(ids), read.shape[1]).index_copy(0, kept, read)
    rows = rows_of(table, ids)
    return rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows


def mean_users(user_rows: Tensor, pairs: Pairs) -> Tensor:
    """Mean of the users of each distinct item, `(n_distinct_items, dim)`."""
    total = user_rows.new_zeros(len(pairs.items), user_rows.shape[1])
    total.index_add_(0, pairs.item_of, user_rows.index_select(0, pairs.user_of))
    return total / pairs.item_counts.unsqueeze(1)


def missing_masks(missing: Missing, modalities: Sequence[str], n: int) -> list[Tensor | None]:
    """One `(n_items,)` mask or None for each of the `n` content modalities, in order.

    Raises:
        ConfigError: a mapping names an unknown modality, or a sequence has another length.
    """
    if missing is None:
        return [None] * n
    if isinstance(missing, Mapping):
        for name in missing:
            if name not in modalities[:n]:
                raise unknown_name("modality of a missing-row mask", name, modalities[:n])
        return [missing.get(name) for name in modalities[:n]] + [None] * (n - len(modalities))
    if len(missing) != n:
        raise ConfigError(
            f"{len(missing)} missing-row masks for {n} content modalities: give one each"
        )
    return list(missing)


def full_precision(method: Method) -> Method:
    """Run a module's method outside autocast: exponentials and norms need float32."""

    @functools.wraps(method)
    def run(self: Any, table: Tensor, *args: Any, **options: Any) -> Any:
        with torch.autocast(table.device.type, enabled=False):
            return method(self, table, *args, **options)

    return run  # type: ignore[return-value]
