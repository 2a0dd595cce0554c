"""Whether the parts of an export belong together, before anything is recommended from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..checksums import file_checksum
from .layout import FOR_OTHERS


def require_same_files(folder: Path, about: Mapping[str, Any]) -> None:
    """Compare the files of an export that are read with the checksums in its `about.json`.

    Tables for other programs may be missing, as in the copies of a service. Exports of earlier
    versions have no checksums, and are checked by what their parts say alone.

    Raises:
        ValueError: a file is not the one that was exported; OSError: it is not there.
    """
    for name, checksum in about.get("sha256", {}).items():
        if name not in FOR_OTHERS and file_checksum(folder / name) != checksum:
            raise ValueError(f"{name} is not the file that was exported: its checksum is wrong")


def require_vectors(user: Tensor, item: Tensor) -> None:
    """Refuse tables that no scores can be made of.

    Raises:
        ValueError: they are not `(n, dim)` float32 of one dim, or not finite.
    """
    for name, table in (("user", user), ("item", item)):
        if table.dim() != 2 or table.dtype != torch.float32:
            raise ValueError(f"vectors of {name}s are {table.dtype} {tuple(table.shape)}")
        if not table.isfinite().all():
            raise ValueError(f"a vector of {name}s is not finite")
    if user.shape[1] != item.shape[1]:
        raise ValueError(f"users have {user.shape[1]} numbers each, items {item.shape[1]}")


def require_seen(seen_from: Tensor, seen: Tensor, n_users: int, n_items: int) -> None:
    """Refuse rows of what users have that are not those of these users and items.

    Raises:
        ValueError: says what is wrong.
    """
    if {seen_from.dtype, seen.dtype} != {torch.int64} or seen_from.dim() != 1 or seen.dim() != 1:
        raise ValueError("rows of what users have must be int64")
    if len(seen_from) != n_users + 1:
        raise ValueError(f"what users have is of {len(seen_from) - 1} users, not {n_users}")
    if seen_from[0] != 0 or seen_from[-1] != len(seen) or (seen_from.diff() < 0).any():
        raise ValueError("rows of what users have do not follow each other")
    if len(seen) and not 0 <= int(seen.min()) <= int(seen.max()) < n_items:
        raise ValueError(f"users have an item outside 0 .. {n_items - 1}")


def require_ids(kind: str, ids: pd.Index, n: int) -> None:
    """Refuse ids that stand twice, or are not as many as there are vectors.

    Raises:
        ValueError: says which.
    """
    if len(ids) != n:
        raise ValueError(f"{len(ids)} ids of {kind}s for {n} vectors")
    if not ids.is_unique:
        raise ValueError(f"{kind} '{ids[ids.duplicated()][0]}' stands twice")
