"""Rows of a backbone's tables by id: where sampled blocks get what they compute with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from ..models.base import Backbone, RowTables
from ..tensors.functional import first_order


class RowsOf(Protocol):
    """Gives rows of a backbone's tables by id: out of memory, or from wherever they are."""

    def __call__(self, names: RowTables, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """Rows of distinct ids, by the full names of the backbone's tables."""


class TableRows:
    """Rows of tables in memory.

    Args:
        backbone: has the tables.
        lazy: whether the gradient of a trained table is sparse.
    """

    def __init__(self, backbone: Backbone, *, lazy: bool) -> None:
        self.backbone = backbone
        self.lazy = lazy

    def __call__(self, names: RowTables, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """Rows of distinct ids, by the full names of the backbone's tables."""
        return {
            name: self._rows(table, users if node_type == "user" else items)
            for prefix, node_type in names.items()
            for name, table in tables_of(self.backbone, prefix)
        }

    def _rows(self, table: Tensor, ids: Tensor) -> Tensor:
        sparse = self.lazy and isinstance(table, nn.Parameter)
        return embedding(ids, table, sparse=True) if sparse else table.index_select(0, ids)


def tables_of(backbone: Backbone, name: str) -> Iterator[tuple[str, Tensor]]:
    """The table of this name, or all those of the module of this name."""
    held = getattr(backbone, name)
    if isinstance(held, Tensor):
        yield name, held
    else:
        yield from held.named_parameters(name)
        yield from held.named_buffers(name)


def with_first(rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """`rows` and the first `n` of them, for two readers.

    Their gradients are added up without a table of zeros around that of the first rows.
    """
    if n == len(rows) or not rows.requires_grad:
        return rows, rows[:n]
    return _WithFirst.apply(rows, n)


class _WithFirst(torch.autograd.Function):
    """A table twice, the second time cut off."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
        ctx.n = n
        return rows.view_as(rows), rows[:n].clone()

    @staticmethod
    @first_order
    def backward(ctx: Any, to_all: Tensor, to_first: Tensor) -> tuple[Tensor, None]:
        total = to_all.clone()  # it may be the gradient of something else as well
        total[: ctx.n] += to_first
        return total, None
