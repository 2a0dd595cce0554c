"""Progress bars that never end the work they report."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm as _tqdm


class Bar(_tqdm):
    """tqdm's bar; it falls silent where it cannot be written, as on a closed or full stream."""

    broken = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        silent = options.pop("disable", False) or sys.stderr is None
        try:
            super().__init__(*arguments, disable=silent, **options)
        except (OSError, ValueError):
            super().__init__(*arguments, disable=True, **options)

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
