"""Progress bars that never end the work they report, and that a log can hold."""

from __future__ import annotations

import io
import re
import sys
from typing import Any, TextIO

from tqdm.auto import tqdm as _tqdm

LOG_SECONDS = 20.0
"""Seconds between two lines of a bar in a log."""
REDRAWING = re.compile(r"\r|\x1b\[A")
"""What takes a terminal back over what it shows."""


class Bar(_tqdm):
    """tqdm's bar; it falls silent where it cannot be written, as on a closed or full stream.

    On a terminal and in a notebook it redraws itself; elsewhere it writes a line now and then.
    """

    broken = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        silent = options.pop("disable", False) or sys.stderr is None
        if not silent and not _redraws():
            options |= {"file": _Lines(sys.stderr), "dynamic_ncols": False}
            options |= {"mininterval": LOG_SECONDS, "maxinterval": LOG_SECONDS}
        begin: Any = super().__init__
        try:
            begin(*arguments, disable=silent, **options)
        except (OSError, ValueError):
            begin(*arguments, disable=True, **options)

    def display(self, *arguments: Any, **options: Any) -> Any:
        """Show the bar, unless it cannot be shown."""
        if self.broken:
            return None
        try:
            return super().display(*arguments, **options)
        except (OSError, ValueError):  # the stream is full, was closed, or has no such letters
            self.broken = True
            return None

    def close(self) -> None:
        """End the bar, and its line as far as it can be written."""
        try:
            super().close()
        except (OSError, ValueError):
            self.broken = True


def _redraws() -> bool:
    """Whether a bar can be drawn over: on a terminal, and in a notebook."""
    if "ipykernel" in sys.modules:
        return True
    try:
        return sys.stderr.isatty()
    except ValueError:  # closed
        return False


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
