"""One process against several that train together: seconds of an epoch, and their ratio.

    python benchmarks/team.py [--data FOLDER] [--processes 2] [--epochs 3] [--out FILE]

LightGCN + CROSS on the whole graph and on sampled blocks, with all pairs contrasted by every
process (`gather`) and with its own part alone. Every run is `crossalign train`, one thread a
process, in fresh processes; seconds are those of the clock, so leave the machine alone. The first
epoch, which prepares kernels, is left out. The limit of the ratio is the number of processes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from crossalign.fileio import write_text
from crossalign.run_files import TIMINGS_FILE

BLOCKS = ["training.sampling=blocks", "backbone.n_layers=2", "training.fanout=[10,5]"]
WORK = {
    "whole graph": [],
    "whole graph, own pairs": ["training.gather=false"],
    "sampled blocks": BLOCKS,
    "sampled blocks, own pairs": [*BLOCKS, "training.gather=false"],
}


def epoch_seconds(settings: list[str], processes: int, options: argparse.Namespace) -> float:
    """Median seconds of an epoch after the first."""
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", f"--nproc-per-node={processes}", "-m"]
    train = ["crossalign", "train", options.data, "--backbone", "lightgcn", "--alignment", "cross"]
    settings = [*settings, f"training.epochs={options.epochs}", "training.device=cpu"]
    for setting in settings:
        train += ["--set", setting]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        subprocess.run(
            [*start, *train, "--out", str(run), "--quiet"],
            check=True,
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        rows = map(json.loads, (run / TIMINGS_FILE).read_text().splitlines())
        return statistics.median([row["train"] for row in rows][1:])


def main() -> None:
    """Parse, run in turn, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="planted")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default="runs/processes.json")
    options = parser.parse_args()
    if options.epochs < 2 or options.processes < 2:
        parser.error("give two epochs and two processes at least")
    rows = []
    print(f"{'seconds an epoch':28s} {'1':>8s} {options.processes:8d}    ratio  limit")
    for name, settings in WORK.items():
        one, several = (epoch_seconds(settings, n, options) for n in (1, options.processes))
        rows.append({"work": name, "one": one, "several": several, "ratio": one / several})
        print(
            f"{name:28s} {one:8.2f} {several:8.2f} {one / several:6.2f} x {options.processes:4d} x",
            flush=True,
        )
    about = {"data": options.data, "processes": options.processes, "rows": rows}
    write_text(options.out, json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
