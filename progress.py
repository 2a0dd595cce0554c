"""Progress: a bar that redraws itself on a terminal, whole lines now and then in a log."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterable

LOG_SECONDS = 20.0
"""Seconds between two lines of a bar in a log."""
REDRAWING = re.compile(r"\r|\x1b\[A")
"""What takes a terminal back over what it shows."""


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """A tqdm bar with `options`; where standard error is no terminal, it writes lines instead."""
    if not options.get("disable") and not _redraws():
        options |= {
            "file": _Lines(sys.stderr),
            "mininterval": LOG_SECONDS,
            "maxinterval": LOG_SECONDS,
            "dynamic_ncols": False,
        }
    return tqdm(iterable, **options)


def _redraws() -> bool:
    """Whether a bar can be drawn over: on a terminal, and in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class _Lines(io.TextIOBase):
    """Writes what a bar would draw over itself as lines, each once."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.last = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the log, which decides whether a bar is drawn in ASCII."""
        return self.file.encoding

    def write(self, text: str) -> int:
        """Write `text` as a line, if it says anything new."""
        line = REDRAWING.sub("", text).strip()
        if line and line != self.last:
            self.file.write(line + "\n")
            self.last = line
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self.file.flush()
