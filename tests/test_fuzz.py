"""A short run of `fuzz.py`: mutated files of every reader are read or refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    """In a process of its own, which forks: threads of other tests would not survive that."""
    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, script, "--files", "300", "--seed", "1", "--keep", tmp_path / "kept"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["valid"] + figures["refused"] == 300
    assert min(figures["valid"], figures["refused"]) > 0
