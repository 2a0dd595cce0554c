"""Calls that cannot be right, refused in one line."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..tensors.functional import widened
from ..tensors.ids import at_hand
from ..tensors.tables import Table

WHOLE_NUMBERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def require_table(table: Any, who: str) -> None:
    """Refuse what gives no rows as tensors: arrays, lists, paths, None."""
    plain = isinstance(table, str | bytes | list | tuple | dict) or hasattr(table, "__array__")
    if not isinstance(table, Tensor) and (plain or not hasattr(table, "__getitem__")):
        raise ConfigError(
            f"{who} was called with {type(table).__name__}: give tensors, for example "
            "torch.from_numpy(array)"
        )


def require_finite(name: str, rows: Tensor, ids: Tensor) -> None:
    """Refuse content with NaN; on a device the host does not wait to see it."""
    if at_hand(rows) and not torch.isfinite(rows.detach().sum()):
        bad = ids[~torch.isfinite(rows.detach()).all(1)]
        if len(bad):
            raise ConfigError(
                f"content '{name}' of item {int(bad[0])} is not finite ({len(bad)} such item(s) in "
                "the batch): mend its features or mark it as missing, or lower the learning rate "
                "if it was finite before"
            )


def require_ids(kind: str, ids: Tensor) -> None:
    """Refuse anything but one vector of whole numbers."""
    if not isinstance(ids, Tensor) or ids.dtype not in WHOLE_NUMBERS:
        what = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise ConfigError(f"{kind} ids are {what}: give an int64 tensor, one id for each pair")
    if ids.dim() != 1:
        raise ConfigError(f"{kind} ids {tuple(ids.shape)} must be one vector, an id for each pair")


def require_same_items(*tables: Table) -> None:
    """Refuse tables with different numbers of rows, such as rows of a batch beside whole tables."""
    sizes = [len(table) for table in tables if isinstance(table, Sized)]
    if len(set(sizes)) > 1:
        raise ConfigError(
            f"tables of the items have {', '.join(map(str, sizes))} rows: give whole tables, one "
            "row for each item of the catalogue; the ids of the batch pick from them"
        )


def require_alike(tables: Sequence[Tensor]) -> None:
    """Refuse rows of different widths or precisions."""
    widths = [rows.shape[1] for rows in tables]
    if len(set(widths)) > 1:
        raise ConfigError(
            f"rows of the items and of their content are {', '.join(map(str, widths))} wide: "
            "project content to one width, or give its own as feature_dims={name: width}"
        )
    require_one_precision("items and of their content", *tables)


def require_one_precision(whose: str, *tables: Table) -> None:
    """Refuse tensors of several precisions; 16 bits are read as 32."""
    found = [widened(t[:0]).dtype for t in tables if isinstance(t, Tensor)]
    if len(set(found)) > 1:
        kinds = ", ".join(str(kind).removeprefix("torch.") for kind in found)
        raise ConfigError(
            f"tables of the {whose} are {kinds}: give all in one precision, for example with "
            ".float()"
        )


def require_fit(dim: int, parameter: Tensor, **rows: Tensor) -> None:
    """Refuse rows, named by what they are of, that parameters for `dim` columns cannot take."""
    for what, table in rows.items():
        if table.shape[1] != dim:
            raise ConfigError(
                f"rows of the {what} are {table.shape[1]} wide, but the alignment was built for "
                f"{dim}: give it dim={table.shape[1]}"
            )
        if table.dtype != widened(parameter[:0]).dtype:
            kind = str(table.dtype).removeprefix("torch.")
            raise ConfigError(
                f"tables of the {what} are {kind}, but the alignment is not: give it "
                f".to(torch.{kind}), or tables with .float()"
            )
