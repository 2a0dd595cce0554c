"""Tables of rows by id: whole ones, projected ones, and ones of which only some rows were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .functional import widened
from .ids import at_hand


class Table(Protocol):
    """Anything that gives rows by id: a `(n_items, dim)` tensor, or a `Projected` table."""

    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


class Tables(NamedTuple):
    """What the two sides of a batch are read from."""

    user: Tensor
    """`(n_users, dim)` user representations."""
    item: Tensor
    """`(n_items, dim)` item representations, the modality `id`."""
    modalities: Mapping[str, Table]
    """Content modality name -> table of `(n_items, dim)` rows."""


def rows_of(table: Table, ids: Tensor) -> Tensor:
    """`table[ids]`, `(len(ids), dim)`.

    Tensors take index_select: its backward adds whole rows, that of indexing single elements.
    """
    return table.index_select(0, ids) if isinstance(table, Tensor) else table[ids]


def read_rows(table: Table, ids: Tensor, absent: Tensor | None = None) -> Tensor:
    """`table[ids]`, `(len(ids), dim)`, at least float32; rows marked `absent` are zero, unread."""
    if absent is None:
        return widened(rows_of(table, ids))
    if at_hand(absent):
        kept = (~absent).nonzero().squeeze(1)
        read = read_rows(table, ids[kept])
        return read.new_zeros(len(ids), read.shape[1]).index_copy(0, kept, read)
    # To skip rows the host would have to wait for their number: read a row that is there instead.
    present = ids.gather(0, absent.long().argmin(0, keepdim=True))
    rows = read_rows(table, torch.where(absent, present, ids))
    return rows.masked_fill(absent.unsqueeze(1), 0.0)


class Projected:
    """Features seen through a projector, computed only for the rows that are asked for.

    `table[rows]` is `projector(features[rows])`, `(len(rows), dim)`: the cost of a step grows
    with the rows it touches and not with the catalogue.

    Args:
        features: `(n_items, d)` frozen features or trainable table.
        projector: maps `(n, d)` to `(n, dim)`.
    """

    def __init__(self, features: Table, projector: Callable[[Tensor], Tensor]) -> None:
        self.features = features
        self.projector = projector

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        return self.projector(rows_of(self.features, rows))


class SomeRows:
    """A table of which only some rows were computed.

    Args:
        ids: `(n,)` int64, sorted ids of the rows.
        rows: `(n, dim)`
    """

    def __init__(self, ids: Tensor, rows: Tensor) -> None:
        self.ids = ids
        self.rows = rows

    def __getitem__(self, ids: Tensor, /) -> Tensor:
        return self.rows.index_select(0, self.positions(ids))

    def positions(self, ids: Tensor) -> Tensor:
        """Where the rows `ids` lie among those that are there.

        Raises:
            ValueError: on a CPU, a row was not computed; an alignment reads what its `reach` does
                not name. On a GPU that is a device-side assertion.
        """
        found = torch.searchsorted(self.ids, ids).clamp_max(max(len(self.ids) - 1, 0))
        if not at_hand(ids):  # the host does not wait to hear of it: the device breaks off
            torch._assert_async((self.ids[found] == ids).all())
        elif not torch.equal(self.ids[found], ids):
            raise ValueError("rows are asked for that were not computed: see Alignment.reach")
        return found

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.rows.device


def xavier_table(n: int, dim: int, *, normal: bool = False) -> nn.Parameter:
    """A trainable `(n, dim)` table, drawn Xavier-uniform or Xavier-normal.

    Its attribute `xavier` says which, for those who draw the table in parts.
    """
    draw = nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_
    table = nn.Parameter(draw(torch.empty(n, dim)))
    table.xavier = "normal" if normal else "uniform"  # type: ignore[attr-defined]
    return table


def xavier(layer: nn.Linear) -> nn.Linear:
    """`layer` with Xavier-uniform weight and zero bias, as the papers initialise."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
