"""Neighbour lists of large catalogues: seconds, processor seconds, peak memory, recall, limit.

    python benchmarks/neighbors.py [--users 1000000 --items 200000 --interactions 10000000]
        [--vectors 1000000] [--work exact faiss features] [--threads 2] [--out FILE]

Each piece of work runs in a process of its own, so that its peak memory is its own; data are
generated and seeded. Beside each stands a plain formulation of the same work on a sample, in the
same process, and the ratio of processor seconds per row: a busy machine distorts wall time. Set
`OMP_WAIT_POLICY=PASSIVE`.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fresh import measure_each
from powerlaw import powerlaw
from scipy import sparse

from crossalign.graphs import Work, approximate_neighbors, cooccurrence_neighbors, recall_at_k
from crossalign.graphs.knn import feature_neighbors
from crossalign.graphs.neighbors import Neighbors

DIM = 128
BYTES_PER_PAIR = 12
"""An item id and a one are read, a count is added to."""
MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """One piece of work; `ratio` is plain over ours, processor seconds per row."""

    work: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    per_second: float
    unit: str
    recall: float
    ratio: float
    limit_seconds: float
    limit: str

    def line(self) -> str:
        """One printed line."""
        return (
            f"{self.work:28s} {self.seconds:7.1f} s wall {self.cpu_seconds:7.1f} s cpu "
            f"{self.peak_mib:6.0f} MiB {self.per_second:9.3g} {self.unit}/cpu-s  recall "
            f"{self.recall:.3f}  {self.ratio:5.1f} x plain; limit {self.limit_seconds:.2g} s "
            f"({self.limit})"
        )


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, wall seconds and processor seconds (user and system, all threads)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def peak_mib() -> float:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def copy_bandwidth() -> float:
    """Bytes a processor second moves between large arrays."""
    source = np.ones(32 * MIB)
    target = np.empty_like(source)
    _, _, seconds = timed(lambda: [np.copyto(target, source) for _ in range(4)])
    return 4 * 2 * source.nbytes / seconds


def plain_neighbors(pairs: np.ndarray, rows: np.ndarray, shape: tuple[int, int], k: int):  # noqa: ANN201
    """Counts of the best `k`: `R^T R` in blocks of 64 rows, dense, and `argpartition`."""
    ones = np.ones(pairs.shape[1], dtype=np.int64)
    by_user = sparse.csr_array((ones, (pairs[0], pairs[1])), shape=shape)
    by_item = by_user.T.tocsr()[rows]

    def count() -> np.ndarray:
        best = []
        for start in range(0, len(rows), 64):
            block = (by_item[start : start + 64] @ by_user).toarray()
            block[np.arange(len(block)), rows[start : start + 64]] = 0
            top = np.argpartition(-block, k, axis=1)[:, :k]
            best.append(-np.sort(-np.take_along_axis(block, top, 1), axis=1))
        return np.concatenate(best)

    return count


def cooccurrence(options: argparse.Namespace, way: str) -> Measured:
    """Neighbours by common users, `exact` or `faiss`, and their recall on a sample of items."""
    size = (options.users, options.items)
    data, *generated = timed(lambda: powerlaw(*size, options.interactions))
    print(f"generated in {generated[0]:.1f} s wall, {generated[1]:.1f} s cpu", flush=True)
    find = cooccurrence_neighbors if way == "exact" else approximate_neighbors
    how = Work(options.memory_mib, options.threads, progress=True)
    found, wall, cpu = timed(lambda: find(data.pairs, *size, options.k, how=how))
    peak = peak_mib()

    rows = torch.randperm(options.items, generator=torch.Generator().manual_seed(0))
    rows = rows[: options.sample].sort().values
    exact = cooccurrence_neighbors(data.pairs, *size, options.k, rows=rows)
    count = plain_neighbors(data.pairs.numpy(), rows.numpy(), size, options.k)
    plain, _, plain_cpu = timed(count)
    assert np.array_equal(plain, exact.counts.numpy()), "the plain formulation counts differently"
    degree = np.bincount(data.pairs[0].numpy()).astype(np.int64)
    pairs = int((degree**2).sum())
    return Measured(
        f"co-occurrence, {way}",
        wall,
        cpu,
        peak,
        pairs / cpu,
        "pairs",
        recall_at_k(Neighbors(found.ids[rows], found.counts[rows]), exact),
        plain_cpu / len(rows) / (cpu / options.items),
        pairs * BYTES_PER_PAIR / copy_bandwidth() / options.threads,
        f"{pairs:.3g} pairs x {BYTES_PER_PAIR} bytes at copying speed, all threads",
    )


def features(options: argparse.Namespace) -> Measured:
    """Nearest vectors among clustered random ones; plain is matrix product and `topk`."""
    n = options.vectors
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(max(1, n // 100), DIM, generator=rng)
    table = centres[torch.randint(len(centres), (n,), generator=rng)]
    table += torch.randn(n, DIM, generator=rng)
    search = lambda: feature_neighbors(table, options.k, memory_mib=options.memory_mib)  # noqa: E731
    found, wall, cpu = timed(search)
    peak = peak_mib()
    unit = torch.nn.functional.normalize(table)
    queries = torch.linspace(0, n - 1, min(256, n)).long()
    plain, _, plain_cpu = timed(lambda: (unit[queries] @ unit.T).topk(options.k))
    if found.search == "exact":
        torch.testing.assert_close(plain.values, found.cosine[queries])
    square = torch.randn(2048, 2048, generator=rng)
    _, _, multiply = timed(lambda: square @ square)
    per_second = len(square) ** 3 / multiply * options.threads
    return Measured(
        f"feature kNN, {found.search}",
        wall,
        cpu,
        peak,
        n / cpu,
        "items",
        found.recall,
        plain_cpu / len(queries) / (cpu / n),
        float(n) ** 2 * DIM / per_second,
        "exact search: all products at the speed of a matrix product, all threads",
    )


def measure(work: str, options: argparse.Namespace) -> Measured:
    """One piece of work in this process."""
    torch.set_num_threads(options.threads)
    return features(options) if work == "features" else cooccurrence(options, work)


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = ["exact", "faiss", "features"]
    parser.add_argument("--work", nargs="+", choices=names, default=names)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--interactions", type=int, default=10_000_000)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--sample", type=int, default=1000, help="items compared (default 1000)")
    parser.add_argument("--memory-mib", type=int, default=512)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default="runs/neighbors.json")
    measure_each(measure, parser.parse_args())


if __name__ == "__main__":
    main()
