"""A CROSS step on a GPU: the plain formulation against ours, by time and peak memory.

    python benchmarks/gpu.py [--users N] [--items N] [--out FILE]

Forward and backward of the three levels on given tables, batch 2048, 10240 prototypes, both sides
in turn; seconds of the clock, until the GPU is done. Ours gets ids as the training loop gives them,
known to the host. Without a GPU it says so and leaves with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from epochs import BATCH
from limits import Cost, Machine, products
from plain.cross import Cross
from row import HEADER, Row
from timing import Seconds
from torch import Tensor

from crossalign.align import CROSS
from crossalign.fileio import write_text
from crossalign.tensors.ids import HostIds
from training import DIM, N_NEIGHBORS, N_PROTOTYPES, cluster_cost

MODALITIES = ["image", "text"]
REPEATS = 20  # steps between two looks at the clock
Step = Callable[[], object]


def steps(n_users: int, n_items: int, device: torch.device) -> tuple[Step, Step, Cost]:
    """The plain step and ours on the same tables and pairs, and the least they can cost."""
    rng = torch.Generator().manual_seed(0)

    def table(n: int) -> Tensor:
        return torch.randn(n, DIM, generator=rng).to(device).requires_grad_()

    user, item = table(n_users), table(n_items)
    content = {name: table(n_items) for name in MODALITIES}
    users = torch.randint(n_users, (BATCH,), generator=rng)
    items = torch.randint(n_items, (BATCH,), generator=rng)
    neighbors = torch.randint(n_items, (n_items, N_NEIGHBORS), generator=rng)
    plain = Cross(MODALITIES, neighbors.to(device), dim=DIM, n_prototypes=N_PROTOTYPES).to(device)
    ours = CROSS(DIM, MODALITIES, neighbors=neighbors, n_prototypes=N_PROTOTYPES).to(device)
    ids = users.to(device), items.to(device)
    n_distinct = len(users.unique()), len(items.unique())

    def plain_step() -> None:
        plain(user, {"id": item, **content}, *ids).backward()

    def our_step() -> None:
        known = HostIds.on(device, users), HostIds.on(device, items)
        ours(user, item, content, *known).backward()

    around = products(n_distinct[1], n_distinct[1], DIM, times=15)
    return plain_step, our_step, cluster_cost(*n_distinct, 1 + len(MODALITIES)) + around


def clocked(step: Step) -> Seconds:
    """Seconds of a step by the clock, from an idle GPU to an idle GPU."""

    def seconds() -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(REPEATS):
            step()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / REPEATS

    return seconds


def peak_mib(step: Step) -> float:
    """What a step takes of the GPU's memory at its peak, beside what was there before."""
    step()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def measured(device: torch.device) -> Machine:
    """Rates of the GPU in float32 products and copies."""
    matrix, source = torch.rand(8192, 8192, device=device), torch.rand(2**28, device=device)
    clocks = [clocked(work) for work in (lambda: matrix @ matrix, source.clone)]
    multiply, copy = (min(clock() for _ in range(3)) for clock in clocks)
    return Machine(2 * 8192**3 / multiply, 2 * 4 * source.numel() / copy)


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=9308, help="rows of the user table (TikTok)")
    parser.add_argument("--items", type=int, default=6710, help="rows of the item tables (TikTok)")
    parser.add_argument("--out", default="runs/gpu.json", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch sees no GPU: nothing was measured", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    plain, ours, cost = steps(options.users, options.items, device)
    extra = {"peak MiB, plain": peak_mib(plain), "peak MiB, ours": peak_mib(ours)}
    sides = clocked(plain), clocked(ours)
    result = Row("CROSS step", *sides, 2, cost, extra=extra).measure(measured(device))
    name = torch.cuda.get_device_name(device)
    content = {"device": name, "torch": torch.__version__, "row": result.to_dict()}
    print(f"{name}, torch {torch.__version__}\n\n{HEADER}\n{result.line()}")
    write_text(options.out, json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
