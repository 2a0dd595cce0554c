"""A short run of `fuzz.py`: mutated files of every reader are read or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from fuzz import MEMORY, READERS, fuzz, peak


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    before = peak()
    counts, failures = fuzz(15 * len(READERS), 1, tmp_path)
    assert failures == []
    assert counts["valid"] > 0
    assert counts["refused"] > 0
    assert peak() - before < MEMORY
