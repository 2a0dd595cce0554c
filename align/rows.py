"""From tables and id vectors to the few distinct rows a batch is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError, unknown_name
from ..tensors.functional import unit_rows
from ..tensors.ids import Repeated
from ..tensors.tables import Table, read_rows

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
        """The pairs `(users[b], items[b])`; repeats are allowed.

        Ids on a device should be `HostIds`: else the host waits until it can count them.
        """
        if users.shape != items.shape or users.dim() != 1:
            raise ConfigError(
                f"users {tuple(users.shape)} and items {tuple(items.shape)} must be two vectors "
                "of the same length: one positive pair a position"
            )
        user_ids, user_of, user_counts = Repeated.of_batch(users)
        item_ids, item_of, item_counts = Repeated.of_batch(items)
        return cls(user_ids, item_ids, user_of, item_of, user_counts, item_counts)

    def __len__(self) -> int:
        return len(self.user_of)


@dataclass(frozen=True)
class ItemViews:
    """The same items seen by every modality, the backbone's own (`id`) first.

    Attributes:
        rows: one `(n, dim)` tensor of unit rows per modality; a missing row is zero.
        present: `(n_modalities, n)` bool, or None when nothing is missing.
        lengths: `(n_modalities, n)` what the rows' lengths were, detached.
    """

    rows: tuple[Tensor, ...]
    present: Tensor | None
    lengths: Tensor

    @classmethod
    def gather(
        cls, item: Table, content: Sequence[Table], ids: Tensor, missing: Sequence[Tensor | None]
    ) -> ItemViews:
        """Read and normalise the rows `ids` of every table, leaving missing ones unread.

        Raises:
            ConfigError: the tables are not of the same items, or their rows not of one width.
        """
        require_same_items(item, *content)
        absent = (None, *(None if mask is None else mask[ids].bool() for mask in missing))
        tables = zip((item, *content), absent, strict=True)
        read = [read_rows(table, ids, gap) for table, gap in tables]
        _require_one_width(read)
        rows, lengths = tuple(map(unit_rows, read)), torch.stack(list(map(row_lengths, read)))
        if all(gap is None for gap in absent):
            return cls(rows, None, lengths)
        complete = torch.zeros_like(ids, dtype=torch.bool)
        gaps = torch.stack([complete if gap is None else gap for gap in absent])
        return cls(rows, ~gaps, lengths)

    def select(self, positions: Tensor) -> ItemViews:
        """The views of some of the items, `(n,)` positions."""
        rows = tuple(rows.index_select(0, positions) for rows in self.rows)
        present = None if self.present is None else self.present[:, positions]
        return ItemViews(rows, present, self.lengths[:, positions])

    def unscaled(self) -> ItemViews:
        """The same with rows of the length that they were read with, detached."""
        pairs = zip(self.rows, self.lengths, strict=True)
        rows = tuple(row.detach() * length.unsqueeze(1) for row, length in pairs)
        return ItemViews(rows, self.present, torch.ones_like(self.lengths))


def require_same_items(*tables: Table) -> None:
    """Refuse tables with different numbers of rows, such as rows of a batch beside whole tables."""
    sizes = [len(table) for table in tables if isinstance(table, Sized)]
    if len(set(sizes)) > 1:
        raise ConfigError(
            f"tables of the items have {', '.join(map(str, sizes))} rows: give whole tables, one "
            "row for each item of the catalogue; the ids of the batch pick from them"
        )


def _require_one_width(tables: Sequence[Tensor]) -> None:
    widths = [rows.shape[1] for rows in tables]
    if len(set(widths)) > 1:
        raise ConfigError(
            f"rows of the items and of their content are {', '.join(map(str, widths))} wide: "
            "project content to one width, or give its own as feature_dims={name: width}"
        )


def require_width(dim: int, **rows: Tensor) -> None:
    """Refuse rows, named by what they are of, that are not `dim` wide."""
    for what, table in rows.items():
        if table.shape[1] != dim:
            raise ConfigError(
                f"rows of the {what} are {table.shape[1]} wide, but the alignment was built for "
                f"{dim}: give it dim={table.shape[1]}"
            )


def row_lengths(rows: Tensor) -> Tensor:
    """Length of each row, `(n,)`, detached."""
    return torch.linalg.vector_norm(rows.detach(), dim=1)


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
