"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 80


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, the first to the left, the others to the right.

    The first column is cut where a line would be longer than `WIDTH`.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    excess = sum(widths) + 2 * (len(widths) - 1) - WIDTH
    widths[0] -= max(excess, 0)
    return [
        "  ".join(
            [row[0][: widths[0]].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in (head, *rows)
    ]
