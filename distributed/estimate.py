"""What a partition needs, said before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from ..datasets.dataset import Dataset

BYTES_PER_EDGE = 250
"""Peak resident bytes for each directed edge of the graph, measured (docs/distributed.md)."""
BYTES_PER_NODE = 400
DISK_PER_EDGE = {"metis": 50, "random": 56}
EDGES_PER_SECOND = {"metis": 1e5, "random": 1.6e5}
"""Directed edges a second on one busy core, lists of neighbours not counted."""


@dataclass(frozen=True)
class Estimate:
    """Attributes: peak memory and disk space in bytes, and seconds on one core."""

    memory: int
    disk: int
    seconds: float

    def line(self) -> str:
        """The estimate in words."""
        gib = 2**30
        return (
            f"estimate: {self.memory / gib:,.2f} GiB of memory, {self.disk / gib:,.2f} GiB of "
            f"disk, {max(self.seconds, 1):,.0f} s and the time of the neighbour lists"
        )


def estimate(dataset: Dataset, method: str, *, lists: int) -> Estimate:
    """What partitioning `dataset` takes.

    Args:
        dataset: the data.
        method: `metis` or `random`.
        lists: entries of an item in all lists of neighbours that travel along.
    """
    pairs, nodes = dataset.train.shape[1], dataset.n_users + dataset.n_items
    edges = 2 * pairs + dataset.n_items * lists
    content = sum(table.numel() * 4 for table in dataset.features.values())
    # DGL splits the features part by part: twice the content at the most.
    memory = edges * BYTES_PER_EDGE + nodes * BYTES_PER_NODE + 2 * content
    disk = edges * DISK_PER_EDGE[method] + nodes * 80 + content + 16 * pairs
    return Estimate(memory, disk, edges / EDGES_PER_SECOND[method])
