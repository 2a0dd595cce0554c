"""Rows of ids, looked up at once and in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .errors import NotFound


class Ids:
    """The ids of users or items, and the row of each.

    Args:
        kind: `user` or `item`, for messages.
        names: id of every row.
    """

    def __init__(self, kind: str, names: Iterable[str]) -> None:
        self.kind = kind
        self.names = [str(name) for name in names]
        self._rows = {name: row for row, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def row(self, name: str) -> int:
        """The row of one id; raises `NotFound`."""
        row = self._rows.get(name)
        if row is None:
            raise NotFound(f"{self.kind} '{shown(name)}' is unknown")
        return row

    def rows(self, names: Sequence[str]) -> np.ndarray:
        """Rows `(n,)` int64 of ids that must all be known; raises `NotFound`."""
        return np.array([self.row(name) for name in names], dtype=np.int64)

    def known(self, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Distinct rows of the ids that are known, as first named, and the ids that are not."""
        found = dict.fromkeys(self._rows[name] for name in names if name in self._rows)
        unknown = list(dict.fromkeys(name for name in names if name not in self._rows))
        return np.fromiter(found, dtype=np.int64, count=len(found)), unknown


def shown(name: str, most: int = 60) -> str:
    """`name` as a message can hold it."""
    return name if len(name) <= most else name[: most - 1] + "…"
