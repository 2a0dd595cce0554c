"""What alignment costs: an epoch of a backbone with CROSS against the backbone alone.

    python benchmarks/alignment_cost.py DATA [--backbones lightgcn freedom]
        [--prototypes 0 64 256 1024 10240] [--threads 1] [--steps 3] [--out FILE.json]

An epoch is a few steps scaled up to all, sampling and pruning included. Both sides are timed in
turn, in one process, and the ratio is the median over rounds: another program slows both. With
`--threads 1` seconds are those of the processor. No prototypes: CROSS without its cluster level.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from epochs import our_epoch
from timing import compare

from crossalign.components import make_modules
from crossalign.config import load_config
from crossalign.datasets import Dataset, load_dataset
from crossalign.fileio import write_text


@dataclass(frozen=True)
class Cost:
    """Seconds of an epoch with CROSS and without, and their ratio round by round."""

    backbone: str
    prototypes: int
    aligned: float
    alone: float
    ratio: float

    def line(self) -> str:
        """One printed line."""
        both = f"{self.aligned:8.2f} s {self.alone:8.2f} s"
        return f"{self.backbone:12s} {self.prototypes:6d} prototypes {both} {self.ratio:6.1f} x"


def measure(data: Dataset, backbone: str, prototypes: int, n_steps: int) -> Cost:
    """Time one pair; 0 prototypes switches the cluster level off."""
    cluster = f"alignment.n_prototypes={prototypes}" if prototypes else "alignment.cla_weight=0"
    alone, _ = make_modules(load_config(None, backbone=backbone), data)
    config = load_config(None, [cluster], backbone=backbone, alignment="cross")
    model, cross = make_modules(config, data)
    found = compare(our_epoch(model, data, n_steps, cross), our_epoch(alone, data, n_steps))
    return Cost(backbone, prototypes, found.plain, found.ours, found.ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--backbones", nargs="+", default=["lightgcn", "freedom"])
    parser.add_argument("--prototypes", nargs="+", type=int, default=[0, 64, 256, 1024, 10240])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = load_dataset(options.data)
    costs = []
    for backbone in options.backbones:
        for prototypes in options.prototypes:
            costs.append(measure(data, backbone, prototypes, options.steps))
            print(costs[-1].line(), flush=True)
    if options.out is not None:
        write_text(options.out, json.dumps([asdict(cost) for cost in costs], indent=2) + "\n")


if __name__ == "__main__":
    main()
