"""The GPU benchmark says so where there is no GPU, and can be rehearsed there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so_and_measures_nothing(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "torch sees no GPU: nothing was measured\n"
    assert not out.exists()


def test_a_rehearsal_writes_the_page_and_the_figures(tmp_path: Path) -> None:
    """Everything that runs on a GPU, on a CPU with small sizes: what is broken shows here."""
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--all", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert [work["unit"] for work in found["timed"]] == ["interactions", "users", "queries"]
    assert all(work["seconds"] > 0 for work in found["timed"])
    assert found["row"]["our_seconds"] > 0
    assert "passed" in found["tests"] or "skipped" in found["tests"]
    page = out.with_suffix(".md").read_text()
    assert page.startswith("# rehearsal on a CPU")
    assert "FREEDOM epoch" in page
