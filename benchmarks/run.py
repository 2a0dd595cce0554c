"""Run benchmarks, print a table, and write the figures to a JSON file.

    python benchmarks/run.py [--data FOLDER] [--only NAME ...] [--threads N] [--out FILE]

Every row sets a plain formulation (`benchmarks/plain`) beside ours, and beside them the ratio that
is aimed at, the least time that the work can take here by its operations or its memory traffic
(`benchmarks/limits.py`), and the share of that limit that ours reaches. For data with published
times these are the last column, with the ratio of ours to them.

Both sides of a row run in turn in this process, so a ratio counts more than a number of seconds.
With `--threads 1` seconds are those of the processor, which a busy neighbour on the machine hardly
distorts. With more, measure on a machine without other work and leave `OMP_WAIT_POLICY` alone:
threads that sleep while they wait cost half the speed.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from alignment import ALIGNMENT
from limits import Machine
from row import HEADER, Row
from user_graph import user_graph_row

from crossalign.datasets import Dataset, load_dataset
from crossalign.fileio import write_text
from evaluation import evaluation_row
from evidence import evidence_row
from training import TRAINING

ROWS: dict[str, Callable[[Dataset], Row]] = {
    **TRAINING,
    **ALIGNMENT,
    "evaluation": evaluation_row,
    "evidence": evidence_row,
    "user_graph": user_graph_row,
}


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="planted", help="data folder (default: built in)")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    parser.add_argument("--out", default="runs/benchmarks.json", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data, machine = load_dataset(options.data), Machine.measure()
    processor = platform.processor() or platform.machine()
    print(
        f"{processor}, {options.threads} threads, torch {torch.__version__}, {options.data}: "
        f"{machine.flops / 1e9:.0f} GFLOP/s in products, {machine.bytes / 1e9:.1f} GB/s in copies"
    )
    print(f"\n{HEADER}")
    results = []
    for name in options.only:
        results.append(ROWS[name](data).measure(machine))
        print(results[-1].line(), flush=True)
    content = {
        "data": options.data,
        "threads": options.threads,
        "torch": torch.__version__,
        "gflops": machine.flops / 1e9,
        "gbytes_per_second": machine.bytes / 1e9,
        "rows": [result.to_dict() for result in results],
    }
    write_text(options.out, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
