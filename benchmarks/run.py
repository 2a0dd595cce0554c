"""Run all benchmarks and print one table; the figures also go to a JSON file.

    python benchmarks/run.py [--data FOLDER] [--out FILE] [--threads N]

Every row times a plain formulation and ours in turn in this process; the ratio is what counts.
Set `OMP_WAIT_POLICY=PASSIVE`, or a busy neighbour on the machine distorts everything.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from pathlib import Path

import alignment
import torch
from timing import Comparison

import evaluation
import training
from crossalign.datasets import load_dataset
from crossalign.fileio import write_text


def rows(data: str) -> Iterator[Comparison]:
    """All comparisons on one data set."""
    dataset = load_dataset(data)
    yield from training.rows(dataset)
    yield from evaluation.rows(dataset)
    yield from alignment.rows()


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="planted", help="data folder (default: built in)")
    parser.add_argument("--out", default="runs/benchmarks.json", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{platform.processor() or platform.machine()}, {options.threads} threads, {options.data}"
    )
    print(f"{'work':52s} {'plain':>13s} {'ours':>13s} {'ratio':>9s}")
    results = []
    for row in rows(options.data):
        print(row.line(), flush=True)
        results.append(row.to_dict())
    about = {"data": options.data, "threads": options.threads, "torch": torch.__version__}
    write_text(options.out, json.dumps({**about, "rows": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
