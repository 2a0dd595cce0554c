"""Training on sampled blocks: interactions a second, peak memory, and the whole graph beside it.

    python benchmarks/sampled.py [--edges 1000000] [--work lightgcn cross freedom]
        [--batch 2048] [--fanout 10 5] [--adam] [--steps 20] [--threads N] [--out FILE]

`cross` is LightGCN with CROSS. Data are generated and seeded: a user for every 10 edges and an item
for every 50, two content features of 128 numbers, which for CROSS stay on disk. Each piece of work
runs in a process of its own; its peak is that of the training, data and tables included, but not of
what was made before. The whole-graph step is the plain formulation: the same model, batch and
losses, propagated over all edges. With `--threads 1` seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from fresh import measure_each
from limits import ADAM_TOUCHES, FLOAT, Cost, Machine
from memory import RESET_PEAK, resident_kib
from powerlaw import powerlaw
from timing import seconds

from crossalign.align import CROSS
from crossalign.datasets import Dataset
from crossalign.graphs import build_graph, cooccurrence_neighbors
from crossalign.graphs.adjacency import SampledRelation
from crossalign.models import FREEDOM, Batch, LightGCN
from crossalign.training import MappedTable, TrainingOptions
from crossalign.training.optimizer import make_optimizer
from crossalign.training.state import StepLog
from crossalign.training.steps import Losses, SampledBlocks, Trained, WholeGraph

DIM, WIDTH, NEIGHBORS = 64, 128, 5
WORK = ("lightgcn", "cross", "freedom")


@dataclass(frozen=True)
class Measured:
    """One piece of work; the limit is what moving the rows of a step through memory allows."""

    work: str
    edges: int
    per_second: float
    whole_per_second: float
    ratio: float
    peak_mib: float
    limit_per_second: float
    limit: str

    def line(self) -> str:
        """One printed line."""
        return (
            f"{self.work:10s} {self.edges:.0e} edges {self.per_second:9.0f} interactions/s  whole "
            f"graph {self.whole_per_second:7.0f}  {self.ratio:5.1f} x  peak {self.peak_mib:6.0f} "
            f"MiB  limit {self.limit_per_second:9.0f} ({self.limit})"
        )


def generated(edges: int) -> Dataset:
    """The interactions; one of each of the 20 busiest users is held out, as data sets must have."""
    data = powerlaw(max(edges // 10, 40), max(edges // 50, 40), edges)
    held = torch.searchsorted(data.pairs[0].contiguous(), data.pairs[0].bincount().topk(20).indices)
    kept = torch.ones(edges, dtype=torch.bool)
    kept[held] = False
    valid, test = data.pairs[:, held].split(10, dim=1)
    return Dataset("generated", data.n_users, data.n_items, data.pairs[:, kept], valid, test)


def content(n_items: int) -> dict[str, np.ndarray]:
    """Two tables of random features."""
    draws = [np.random.default_rng(seed) for seed in range(2)]
    tables = [rng.standard_normal((n_items, WIDTH), dtype=np.float32) for rng in draws]
    return dict(zip(("image", "text"), tables, strict=True))


def freedom(data: Dataset, n_layers: int) -> Trained:
    """FREEDOM on the edges of a first epoch."""
    tables = {name: torch.from_numpy(table) for name, table in content(data.n_items).items()}
    graph = build_graph(replace(data, features=tables), relations=FREEDOM.relations)
    torch.manual_seed(0)
    backbone = FREEDOM(graph, tables, dim=DIM, n_layers=n_layers)
    backbone.begin_epoch(torch.Generator().manual_seed(0))
    return Trained(backbone, None, {})


def lightgcn(data: Dataset, n_layers: int) -> Trained:
    """LightGCN alone."""
    torch.manual_seed(0)
    return Trained(LightGCN(build_graph(data), {}, dim=DIM, n_layers=n_layers), None, {})


def cross(data: Dataset, n_layers: int, folder: Path) -> Trained:
    """LightGCN with CROSS, on features that lie in `folder`."""
    backbone, features = lightgcn(data, n_layers).backbone, {}
    for name, table in content(data.n_items).items():
        np.save(folder / name, table)
        features[name] = MappedTable(folder / f"{name}.npy")
    found = cooccurrence_neighbors(data.train, data.n_users, data.n_items, NEIGHBORS)
    widths = dict.fromkeys(features, WIDTH)
    return Trained(backbone, CROSS(DIM, tuple(features), widths, neighbors=found.ids), features)


def trained(work: str, data: Dataset, n_layers: int, folder: Path) -> Trained:
    """What `work` names."""
    if work == "cross":
        return cross(data, n_layers, folder)
    return (freedom if work == "freedom" else lightgcn)(data, n_layers)


def update(losses_of_steps: Iterator[Losses], optimizer: torch.optim.Optimizer, n: int) -> float:
    """Seconds of each of `n` steps, after a first one."""
    log = StepLog()

    def run(n: int) -> None:
        for losses in islice(losses_of_steps, n):
            optimizer.zero_grad()
            total = losses.total()
            total.backward()
            optimizer.step()
            log.add({"loss": total})

    run(1)
    elapsed = seconds(lambda: run(n)) / n
    assert all(np.isfinite(log.read()["loss"])), "the loss is not finite"
    return elapsed


def cost_of_step(steps: SampledBlocks, batch: int, lazy: bool) -> Cost:
    """What a step moves: a row per sampled edge and direction, the rows read, the tables' Adam."""
    users, items = steps.pairs[:, torch.randperm(steps.pairs.shape[1])[:batch]]
    view = steps.blocks_of_epoch().view(*steps.of_batch.seeds(Batch(users, items, items.roll(1))))
    relations = [m for m in view.propagation.modules() if isinstance(m, SampledRelation)]
    edges = sum(len(relation.indices) for relation in relations)
    read = len(view.users) + len(view.items)
    tables = sum(len(table) for table in steps.trained.backbone.parameters())
    updated = read if lazy else tables
    return Cost(bytes=FLOAT * DIM * (2 * edges + 2 * read + ADAM_TOUCHES * updated))


def measure(work: str, options: argparse.Namespace) -> Measured:
    """Sampled steps, then a few on the whole graph."""
    torch.set_num_threads(options.threads)
    data, lazy = generated(options.edges), not options.adam
    fanout = tuple(options.fanout)
    sampled = TrainingOptions(
        batch_size=options.batch, sampling="blocks", fanout=fanout, lazy_embeddings=lazy
    )
    whole = TrainingOptions(batch_size=options.batch)
    with tempfile.TemporaryDirectory() as folder:
        who = trained(work, data, len(fanout), Path(folder))
        modules = [module for module in who[:2] if module is not None]
        parameters = [p for module in modules for p in module.parameters()]
        RESET_PEAK.write_text("5")
        rng = torch.Generator().manual_seed(0)
        steps = SampledBlocks(who, data, sampled, 0)
        ours = update(steps.losses(1, rng), make_optimizer(parameters, sampled), options.steps)
        peak = resident_kib("VmHWM") / 1024
        plain_losses = WholeGraph(who, data, whole).losses(1, rng)
        plain = update(plain_losses, make_optimizer(parameters, whole), options.whole_steps)
        least, reason = Machine.measure().limit(cost_of_step(steps, options.batch, lazy))
    batch = options.batch
    return Measured(
        work, options.edges, batch / ours, batch / plain, plain / ours, peak, batch / least, reason
    )


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--fanout", type=int, nargs="+", default=[10, 5], help="one a layer")
    parser.add_argument("--adam", action="store_true", help="update all rows in every step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--whole-steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default="runs/sampled.json")
    measure_each(measure, parser.parse_args())


if __name__ == "__main__":
    main()
