"""The three levels of alignment by themselves: seconds, memory, and growth with the catalogue."""

from __future__ import annotations

from collections.abc import Callable

import torch
from epochs import BATCH
from limits import products
from memory import extra_mib
from plain.cluster_level import cluster_level
from plain.item_level import item_level
from plain.neighbor_level import neighbor_level
from row import Row
from timing import timed
from torch import Tensor

from crossalign.align import CROSS, CLALoss, CNALoss, ILALoss
from crossalign.datasets import Dataset
from training import DIM, N_NEIGHBORS, N_PROTOTYPES, cluster_cost

CONTENT = 128
MODALITIES = ("image", "text")


class Step:
    """Random tables of the size of a data set, and a batch of its pairs."""

    def __init__(self, data: Dataset) -> None:
        rng = torch.Generator().manual_seed(0)

        def table(n: int) -> Tensor:
            return torch.randn(n, DIM, generator=rng).requires_grad_()

        self.user, self.views = table(data.n_users), [table(data.n_items) for _ in range(3)]
        batch = torch.randperm(data.train.shape[1], generator=rng)[:BATCH]
        self.users, self.items = data.train[:, batch]
        self.distinct = len(self.users.unique()), len(self.items.unique())
        self.neighbors = torch.randint(data.n_items, (data.n_items, N_NEIGHBORS), generator=rng)


def cluster_row(data: Dataset) -> Row:
    """Forward and backward of the cluster-level loss."""
    step, ours = Step(data), CLALoss(N_PROTOTYPES, DIM)
    books = (ours.prototypes_user_item, ours.prototypes_modalities)

    def plain_step() -> None:
        batch = (ours.temperature, step.users, step.items)
        cluster_level(step.user, step.views, *books, *batch).backward()

    def our_step() -> None:
        ours(step.user, *step.views, step.users, step.items).backward()

    sides = {side: extra_mib(side) for side in ("plain", "ours")}
    return Row(
        work="cluster-level step, batch 2048, 10240 prototypes",
        plain=timed(plain_step),
        ours=timed(our_step),
        target=3.5,
        cost=cluster_cost(*step.distinct, len(step.views)),
        published=3.4,
        note="memory: growth of the peak resident set in a process of its own",
        extra={f"extra MiB, {side}": value for side, value in sides.items()}
        | {"memory, plain / ours (target 5)": sides["plain"] / sides["ours"]},
    )


def item_neighbor_row(data: Dataset) -> Row:
    """Forward and backward of the other two levels together."""
    step, ila, cna = Step(data), ILALoss(DIM, leaky_bi=True), CNALoss(Step(data).neighbors)
    maps = {name: layer.weight for name, layer in ila.maps.items()}
    views = dict(zip(("id", *MODALITIES), step.views, strict=True))

    def plain_step() -> None:
        batch = (ila.temperature, step.users, step.items)
        item = item_level(step.user, views, maps, *batch, dynamic=True)
        (item + neighbor_level(step.views, step.neighbors, 0.2, step.items)).backward()

    def our_step() -> None:
        item = ila(step.user, *step.views, step.users, step.items)
        (item + cna(*step.views, step.items)).backward()

    n = step.distinct[1]
    # Candidates of item-level alignment stand still: one product less. Half of six directions.
    cost = products(n, n, DIM, times=2) * 3 + products(n, n, DIM, times=3) * 3
    return Row(
        work="item-level + neighbour-level step",
        plain=timed(plain_step),
        ours=timed(our_step),
        target=2,
        cost=cost,
        published=0.12,
    )


def growth_row(data: Dataset) -> Row:
    """A CROSS step on 100,000 items against one on 10,000; a ratio of 1 is no growth."""
    return Row(
        work="CROSS step, 10 x the items (1 = no growth)",
        plain=timed(cross_step(100_000)),
        ours=timed(cross_step(10_000)),
        target=1,
        cost=products(BATCH, BATCH, DIM, times=15),
    )


def cross_step(n_items: int) -> Callable[[], None]:
    """Forward and backward on a batch whose items come from 10,000 ids, whatever the catalogue.

    The tables a backbone would give are leaves without history, and only the batch's rows of the
    frozen features are projected, so what is timed is the alignment itself.
    """
    rng = torch.Generator().manual_seed(0)
    ids = torch.randperm(n_items, generator=rng)[:10_000]
    users = torch.randint(10_000, (BATCH,), generator=rng)
    items = ids[torch.randint(10_000, (BATCH,), generator=rng)]
    neighbors = ids[torch.randint(10_000, (n_items, N_NEIGHBORS), generator=rng)]
    user = torch.randn(10_000, DIM, generator=rng)
    item = torch.randn(n_items, DIM, generator=rng)
    features = {m: torch.randn(n_items, CONTENT, generator=rng) for m in MODALITIES}
    align = CROSS(DIM, MODALITIES, dict.fromkeys(MODALITIES, CONTENT), neighbors=neighbors)

    def run() -> None:
        align.zero_grad()
        align(user, item, features, users, items).backward()

    return run


ALIGNMENT: dict[str, Callable[[Dataset], Row]] = {
    "cluster_level": cluster_row,
    "item_neighbor_level": item_neighbor_row,
    "cross_growth": growth_row,
}
