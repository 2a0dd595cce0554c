"""Time a training epoch of every registered backbone.

    python benchmarks/backbones.py [--data FOLDER] [--steps N] [--threads N] [--out FILE]

An epoch is its beginning, its first step, and N steps scaled up to all, with default options,
dim 64 and batch 2048, sampling included. Backbones that need features are left out for data without
any. With `--threads 1` seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from epochs import our_epoch

from crossalign.datasets import Dataset, load_dataset
from crossalign.fileio import write_text
from crossalign.graphs import build_graph
from crossalign.models import BACKBONES
from crossalign.training import seed_everything


def epoch_seconds(name: str, data: Dataset, steps: int) -> float:
    """Seconds of an epoch of one backbone, after one epoch that warms up."""
    cls = BACKBONES[name].cls
    seed_everything(0)
    model = cls(build_graph(data, relations=cls.relations), data.features)
    run = our_epoch(model, data, steps)
    run()
    return run()


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="planted", help="data folder (default: built in)")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", default="runs/backbones.json", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = load_dataset(options.data)
    found = {}
    for name in BACKBONES.names():
        cls = BACKBONES[name].cls
        if data.features or not (cls.needs_features or "similar" in cls.relations):
            found[name] = epoch_seconds(name, data, options.steps)
            print(f"{name:16s} {found[name]:8.2f} s", flush=True)
    content = {"data": options.data, "threads": options.threads, "epoch_seconds": found}
    write_text(options.out, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
