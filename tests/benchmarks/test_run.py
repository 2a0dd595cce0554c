"""The command: it prints a line for every row that is asked for and writes the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = {
    "lightgcn": "LightGCN epoch",
    "item_neighbor_level": "item-level + neighbour-level step",
    "user_graph": "user-user graph",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the command printed and wrote for some quick rows on the built-in data."""
    out = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--threads", "1"]
    command += ["--only", *ROWS, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout, json.loads(out.read_text())


def test_every_row_has_a_ratio_and_a_limit(run) -> None:
    printed, written = run
    assert [row["work"] for row in written["rows"]] == list(ROWS.values())
    for row in written["rows"]:
        (line,) = [line for line in printed.splitlines() if line.startswith(row["work"])]
        assert f"{row['ratio']:.1f} x" in line
        assert row["limit"] in line
        assert row["ratio"] > 0
        assert row["limit_seconds"] > 0


def test_rates_of_the_machine_are_measured(run) -> None:
    _, written = run
    assert written["gflops"] > 0
    assert written["gbytes_per_second"] > 0
