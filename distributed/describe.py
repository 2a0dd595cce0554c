"""What lies where in a partition folder, and whether it fits together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import RunError
from ..report.text_table import text_table
from .folder import NODES, SPLITS, Parts, array, open_parts
from .partition import node_ends

BLOCK = 1 << 20
"""Rows that are checked at a time."""


def parts_lines(folder: str | Path) -> list[str]:
    """The partition in `folder`, as text, after `check_parts`."""
    parts = open_parts(folder)
    check_parts(folder, parts)
    bytes_of = [
        sum(size for name, size in parts.files.items() if name.startswith(f"part{n}/"))
        for n in range(len(parts))
    ]
    shared = sum(parts.files.values()) - sum(bytes_of)
    total = sum(parts.pairs)
    head = f"{parts.name}: {len(parts)} part(s) by {parts.method}, made in {parts.seconds:,.1f} s"
    rows = [
        [f"{n}", *(f"{count:,}" for count in counts)]
        for n, counts in enumerate(
            zip(parts.users, parts.items, parts.pairs, bytes_of, strict=True)
        )
    ]
    content = [f"{name} ({width})" for name, width in parts.modalities.items()]
    near = f"{parts.neighbors} by {parts.neighbors_by}" if parts.neighbors else "none"
    return [
        head,
        *text_table(["part", "users", "items", "training pairs", "bytes"], rows),
        "",
        f"pairs between two parts  {parts.cut:,} of {total:,} ({parts.cut / max(total, 1):.1%})",
        f"content                  {', '.join(content) or 'none'}",
        f"missing rows             {', '.join(parts.missing) or 'none'}",
        f"relations                {', '.join(parts.relations)}",
        f"neighbours of an item    {near}",
        f"maps, splits, original ids  {shared:,} bytes",
        "checked: sizes of all files, maps of places and ids, splits",
    ]


def check_parts(folder: str | Path, parts: Parts) -> None:
    """Make sure that maps, splits and counts say the same.

    Raises:
        RunError: they do not; names the file.
    """
    ends = node_ends(folder)
    for kind in NODES:
        counts = getattr(parts, f"{kind}s")
        if np.diff(ends[kind], prepend=0).tolist() != list(counts):
            raise _unfit(folder, "graph.json", f"the parts hold other numbers of {kind}s")
        ids, places = array(folder, f"{kind}_ids"), array(folder, f"{kind}_places")
        n = getattr(parts, f"n_{kind}s")
        if ids.shape != (n,) or places.shape != (n,):
            raise _unfit(folder, f"{kind}_ids.npy", f"there are {n} {kind}s")
        for first in range(0, n, BLOCK):
            block = ids[first : first + BLOCK]
            inside = ((block >= 0) & (block < n)).all()
            if not inside or (places[block] != np.arange(first, first + len(block))).any():
                raise _unfit(folder, f"{kind}_ids.npy", f"it is not the inverse of {kind}_places")
    for split in SPLITS:
        users, items = array(folder, split)
        if len(users) and (
            (np.diff(users) < 0).any()
            or users[0] < 0
            or users[-1] >= parts.n_users
            or items.min() < 0
            or items.max() >= parts.n_items
        ):
            raise _unfit(folder, f"{split}.npy", "pairs are out of order or out of range")
    if array(folder, "train").shape[1] != sum(parts.pairs):
        raise _unfit(folder, "train.npy", f"{sum(parts.pairs):,} pairs were cut")


def _unfit(folder: str | Path, name: str, why: str) -> RunError:
    return RunError(f"{Path(folder) / name} does not fit: {why}; partition the data again")
