"""Run all benchmarks, print two tables, and write the figures to a JSON file.

    python benchmarks/run.py [--data FOLDER] [--out FILE] [--threads N]

The first table sets a plain formulation beside ours: a training epoch of LightGCN, the ranking of
a whole split, an alignment step. The second has the seconds of a training epoch of every backbone
with its default options (graphs that are built once are not counted, those of an epoch are), and
how many LightGCN epochs that is.

Both sides of a row run in turn in this process, so a ratio counts more than a number of seconds.
With `--threads 1` seconds are those of the processor, which a busy neighbour on the machine hardly
distorts; with more, set `OMP_WAIT_POLICY=PASSIVE` at least.
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
from crossalign.datasets import Dataset, load_dataset
from crossalign.fileio import write_text


def rows(dataset: Dataset) -> Iterator[Comparison]:
    """All comparisons of plain formulations with ours on one data set."""
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
    processor = platform.processor() or platform.machine()
    print(f"{processor}, {options.threads} threads, {options.data}")
    dataset = load_dataset(options.data)
    plain = printed(("work", "plain", "ours"), rows(dataset))
    epochs = printed(("epoch of", "backbone", "LightGCN"), training.backbone_rows(dataset))
    results = {
        "data": options.data,
        "threads": options.threads,
        "torch": torch.__version__,
        "rows": [row.to_dict() for row in plain],
        "epochs": [
            {"backbone": row.work, "seconds": row.baseline_seconds, "lightgcn_epochs": row.ratio}
            for row in epochs
        ],
    }
    write_text(options.out, json.dumps(results, indent=2) + "\n")


def printed(columns: tuple[str, str, str], table: Iterator[Comparison]) -> list[Comparison]:
    """The rows of a table, each printed as soon as it is there."""
    work, first, second = columns
    print(f"\n{work:52s} {first:>13s} {second:>13s} {'ratio':>9s}")
    done = []
    for row in table:
        print(row.line(), flush=True)
        done.append(row)
    return done


if __name__ == "__main__":
    main()
