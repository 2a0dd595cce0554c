"""How time and memory of an epoch grow with the number of edges; draws `growth.svg`.

    python benchmarks/growth.py [--edges 100000 316000 1000000 3160000 10000000] [--threads N]
        [--out runs/growth]

Data are those of `sampled.py`: a user for every 10 edges and an item for every 50. Every point is a
process of its own, so that its peak memory, data and tables included, is its own. An epoch is a
few steps scaled up to all; the neighbour lists are made whole. A line through the first and the
last point gives the exponent: 1 is time in proportion to edges. With `--threads 1` seconds are
those of the processor. Points that are done lie in `growth.json` and are not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from fresh import in_fresh_process
from matplotlib.figure import Figure
from memory import RESET_PEAK, resident_kib
from sampled import NEIGHBORS, generated, trained, update
from timing import seconds

from crossalign.datasets import Dataset
from crossalign.fileio import atomic_path, write_text
from crossalign.graphs import cooccurrence_neighbors
from crossalign.training import TrainingOptions
from crossalign.training.optimizer import make_optimizer
from crossalign.training.steps import make_steps

FANOUT = (10, 5)
WORK: dict[str, tuple[str, Literal["full", "blocks"] | None]] = {
    "LightGCN, whole graph": ("lightgcn", "full"),
    "LightGCN + CROSS, whole graph": ("cross", "full"),
    "LightGCN, sampled blocks": ("lightgcn", "blocks"),
    "LightGCN + CROSS, sampled blocks": ("cross", "blocks"),
    f"neighbour lists, k = {NEIGHBORS}": ("neighbors", None),
}
"""Label -> what is trained, and on what; None for no training."""


@dataclass(frozen=True)
class Point:
    """One measurement."""

    work: str
    edges: int
    seconds: float
    peak_mib: float

    def line(self) -> str:
        """One printed line."""
        peak = f"{self.peak_mib:6.0f} MiB"
        return f"{self.work:33s} {self.edges:9d} edges {self.seconds:9.1f} s {peak}"


def measure(label: str, edges: int, options: argparse.Namespace) -> Point:
    """Seconds of an epoch, or of the lists, and the peak of the resident set."""
    torch.set_num_threads(options.threads)
    data = generated(edges)
    RESET_PEAK.write_text("5")
    work, sampling = WORK[label]
    if sampling is None:
        pairs, sizes = data.train, (data.n_users, data.n_items)
        elapsed = seconds(lambda: cooccurrence_neighbors(pairs, *sizes, NEIGHBORS))
    else:
        lazy = sampling == "blocks"
        training = TrainingOptions(
            batch_size=options.batch, sampling=sampling, fanout=FANOUT, lazy_embeddings=lazy
        )
        elapsed = epoch(work, data, training, options.steps if lazy else 1)
    return Point(label, edges, elapsed, resident_kib("VmHWM") / 1024)


def epoch(work: str, data: Dataset, training: TrainingOptions, n_steps: int) -> float:
    """Seconds of a step, from `n_steps` of them, times the steps of an epoch."""
    with tempfile.TemporaryDirectory() as folder:
        who = trained(work, data, len(FANOUT), Path(folder))
        parameters = [p for module in who[:2] if module is not None for p in module.parameters()]
        steps, rng = make_steps(who, data, training, 0), torch.Generator().manual_seed(0)
        step = update(steps.losses(1, rng), make_optimizer(parameters, training), n_steps)
    return step * math.ceil(data.train.shape[1] / training.batch_size)


def exponent(points: Sequence[Point]) -> float:
    """Slope of seconds over edges between the first and the last point, both logarithmic."""
    first, last = points[0], points[-1]
    return math.log(last.seconds / first.seconds) / math.log(last.edges / first.edges)


def draw(points: Sequence[Point], file: Path) -> None:
    """Seconds and memory over edges, all logarithmic."""
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for label, marker in zip(WORK, "os^Dv", strict=True):
        ours = sorted((p for p in points if p.work == label), key=lambda point: point.edges)
        if len(ours) < 2:
            continue
        edges = [point.edges for point in ours]
        name = f"{label}: edges^{exponent(ours):.2f}"
        left.loglog(edges, [p.seconds for p in ours], marker=marker, label=name)
        right.loglog(edges, [p.peak_mib / 1024 for p in ours], marker=marker)
    left.set(xlabel="edges", ylabel="seconds an epoch")
    right.set(xlabel="edges", ylabel="peak memory, GiB")
    right.set_yscale("log", base=2)
    right.yaxis.set_major_formatter("{x:g}")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    with atomic_path(file) as path:
        figure.savefig(path, format="svg")


def main() -> None:
    """Parse, measure what is missing, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    steps_of_edges = [int(10 ** (5 + i / 2)) for i in range(5)]
    parser.add_argument("--edges", type=int, nargs="+", default=steps_of_edges)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=5, help="timed on sampled blocks")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default="runs/growth")
    options = parser.parse_args()
    if len(set(options.edges)) < 2:
        parser.error("--edges needs two sizes at least: one point shows no growth")
    file = options.out / "growth.json"
    points = [Point(**row) for row in json.loads(file.read_text())] if file.is_file() else []
    known = {(point.work, point.edges) for point in points}
    for edges in options.edges:
        for label in WORK:
            if (label, edges) in known:
                continue
            points.append(in_fresh_process(measure, label, edges, options))
            print(points[-1].line(), flush=True)
            write_text(file, json.dumps([asdict(point) for point in points], indent=2) + "\n")
    draw(points, options.out / "growth.svg")


if __name__ == "__main__":
    main()
