"""What a GPU does: the tests for one, and four pieces of work, timed.

    python benchmarks/gpu.py [--all] [--users N] [--items N] [--out FILE] [--device cpu]

Without `--all`, a CROSS step alone: forward and backward of the three levels on given tables, batch
2048, 10240 prototypes, the plain formulation and ours in turn, by time and peak memory; ours gets
ids as the training loop gives them, known to the host. With `--all` also `tests/test_gpu.py`, a
FREEDOM epoch, full ranking, and an exact FAISS index, and a page beside the JSON file that carries
the name of the card. Seconds of the clock, until the GPU is done. Without a GPU it says so and
leaves with exit code 2; `--device cpu` rehearses all of it there, with small sizes.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from epochs import BATCH
from limits import Cost, Machine, products
from plain.cross import Cross
from row import HEADER, Row
from timing import Seconds
from torch import Tensor

from crossalign.align import CROSS
from crossalign.datasets import planted
from crossalign.evaluation import Evaluator
from crossalign.fileio import write_text
from crossalign.graphs import build_graph
from crossalign.graphs.vector_index import VectorIndex
from crossalign.models import FREEDOM, Representations
from crossalign.tensors.faiss_import import n_gpus
from crossalign.tensors.ids import HostIds
from crossalign.training import TrainingOptions
from crossalign.training.optimizer import make_optimizer
from crossalign.training.steps import Trained, WholeGraph
from training import DIM, N_NEIGHBORS, N_PROTOTYPES, cluster_cost

MODALITIES = ["image", "text"]
Step = Callable[[], object]


@dataclass(frozen=True)
class Sizes:
    """How large the pieces of work are."""

    users: int
    items: int
    prototypes: int = N_PROTOTYPES
    vectors: int = 1_000_000
    """rows of the FAISS index, of 128 numbers"""
    repeats: int = 20
    """steps between two looks at the clock"""


@dataclass(frozen=True)
class Timed:
    """One piece of work that has no plain side."""

    work: str
    seconds: float
    per_second: float
    unit: str
    """of which `per_second` counts"""


def steps(sizes: Sizes, device: torch.device) -> tuple[Step, Step, Cost]:
    """The plain step and ours on the same tables and pairs, and the least they can cost."""
    rng = torch.Generator().manual_seed(0)
    n_users, n_items, k = sizes.users, sizes.items, sizes.prototypes

    def table(n: int) -> Tensor:
        return torch.randn(n, DIM, generator=rng).to(device).requires_grad_()

    user, item = table(n_users), table(n_items)
    content = {name: table(n_items) for name in MODALITIES}
    users = torch.randint(n_users, (BATCH,), generator=rng)
    items = torch.randint(n_items, (BATCH,), generator=rng)
    neighbors = torch.randint(n_items, (n_items, N_NEIGHBORS), generator=rng)
    plain = Cross(MODALITIES, neighbors.to(device), dim=DIM, n_prototypes=k).to(device)
    ours = CROSS(DIM, MODALITIES, neighbors=neighbors, n_prototypes=k).to(device)
    ids = users.to(device), items.to(device)
    n_distinct = len(users.unique()), len(items.unique())

    def plain_step() -> None:
        plain(user, {"id": item, **content}, *ids).backward()

    def our_step() -> None:
        known = HostIds.on(device, users), HostIds.on(device, items)
        ours(user, item, content, *known).backward()

    around = products(n_distinct[1], n_distinct[1], DIM, times=15)
    return plain_step, our_step, cluster_cost(*n_distinct, 1 + len(MODALITIES), k) + around


def finish(device: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def clocked(work: Step, device: torch.device, repeats: int) -> Seconds:
    """Seconds of a piece of work by the clock, from an idle device to an idle device."""

    def seconds() -> float:
        finish(device)
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        finish(device)
        return (time.perf_counter() - start) / repeats

    return seconds


def peak_mib(step: Step) -> float:
    """What a step takes of the GPU's memory at its peak, beside what was there before."""
    step()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def measured(device: torch.device) -> Machine:
    """Rates of the device in float32 products and copies."""
    if device.type == "cpu":
        return Machine.measure()
    matrix, source = torch.rand(8192, 8192, device=device), torch.rand(2**28, device=device)
    clocks = [clocked(work, device, 20) for work in (lambda: matrix @ matrix, source.clone)]
    multiply, copy = (min(clock() for _ in range(3)) for clock in clocks)
    return Machine(2 * 8192**3 / multiply, 2 * 4 * source.numel() / copy)


def cross_row(sizes: Sizes, device: torch.device) -> Row:
    """A CROSS step, plain and ours."""
    plain, ours, cost = steps(sizes, device)
    extra = {}
    if device.type == "cuda":
        extra = {"peak MiB, plain": peak_mib(plain), "peak MiB, ours": peak_mib(ours)}
    sides = (clocked(step, device, sizes.repeats) for step in (plain, ours))
    return Row("CROSS step", *sides, 2, cost, extra=extra)


def freedom_epoch(sizes: Sizes, device: torch.device) -> Timed:
    """All steps of an epoch of FREEDOM on planted data, the redrawn graph included."""
    data = planted(sizes.users, sizes.items)
    torch.manual_seed(0)
    graph = build_graph(data, relations=FREEDOM.relations)
    backbone = FREEDOM(graph, data.features, dim=DIM).to(device)
    options = TrainingOptions(batch_size=BATCH, device=device.type)
    losses_of = WholeGraph(Trained(backbone, None, {}), data, options)
    optimizer = make_optimizer(backbone.parameters(), options)

    def epoch() -> None:
        rng = torch.Generator().manual_seed(1)
        backbone.begin_epoch(rng)
        for losses in losses_of.losses(1, rng):
            optimizer.zero_grad()
            losses.total().backward()
            optimizer.step()

    epoch()
    seconds = clocked(epoch, device, 1)()
    return Timed("FREEDOM epoch", seconds, data.train.shape[1] / seconds, "interactions")


def full_ranking(sizes: Sizes, device: torch.device) -> Timed:
    """Every user of the validation split against all items."""
    data = planted(sizes.users, sizes.items)
    tables = Representations(
        *(torch.randn(n, DIM).to(device) for n in (data.n_users, data.n_items))
    )
    evaluator = Evaluator(data, "valid")
    evaluator(tables)
    seconds = clocked(lambda: evaluator(tables), device, 3)()
    return Timed("full ranking, validation", seconds, data.n_users / seconds, "users")


def faiss_index(sizes: Sizes, device: torch.device) -> Timed:
    """The ten best of all vectors for 4096 of them, exactly."""
    vectors = np.random.default_rng(0).standard_normal((sizes.vectors, 128), dtype=np.float32)
    index, queries = VectorIndex(vectors, "exact"), vectors[:4096]
    index.search(queries, 10)
    seconds = clocked(lambda: index.search(queries, 10), device, 1)()
    where = f"{n_gpus()} GPU" if n_gpus() else "the CPU: this FAISS has no GPU"
    return Timed(f"FAISS, exact, on {where}", seconds, len(queries) / seconds, "queries")


def run_tests() -> str:
    """The last line of what pytest says of `tests/test_gpu.py`."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_gpu.py"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]


def page(name: str, line: str, timed: list[Timed], tests: str) -> str:
    """All figures as Markdown."""
    rows = [
        f"| {work.work} | {work.seconds:.3g} s | {work.per_second:,.0f} {work.unit} |"
        for work in timed
    ]
    return "\n".join(
        [
            f"# {name}, torch {torch.__version__}",
            "",
            "```",
            HEADER,
            line,
            "```",
            "",
            *(["| work | time | a second |", "|---|---|---|", *rows, ""] if rows else []),
            *([f"`tests/test_gpu.py`: {tests}", ""] if tests else []),
        ]
    )


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="the tests and all pieces of work")
    parser.add_argument("--users", type=int, default=9308, help="rows of the user table (TikTok)")
    parser.add_argument("--items", type=int, default=6710, help="rows of the item tables (TikTok)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: rehearse")
    parser.add_argument("--out", default="runs/gpu.json", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU: nothing was measured", file=sys.stderr)
        return 2
    sizes = Sizes(options.users, options.items)
    name = f"rehearsal on a CPU ({platform.machine()})"
    if device.type == "cpu":
        sizes = Sizes(600, 300, prototypes=64, vectors=5000, repeats=1)
    else:
        name = torch.cuda.get_device_name(device)
    result = cross_row(sizes, device).measure(measured(device))
    timed, tests = [], ""
    if options.all:
        timed = [work(sizes, device) for work in (freedom_epoch, full_ranking, faiss_index)]
        tests = run_tests()
    text = page(name, result.line(), timed, tests)
    print(text)
    content = {
        "device": name,
        "torch": torch.__version__,
        "row": result.to_dict(),
        "timed": [asdict(work) for work in timed],
        "tests": tests,
    }
    write_text(options.out, json.dumps(content, indent=2) + "\n")
    write_text(options.out.with_suffix(".md"), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
