"""Cost of an alignment step: ten times the catalogue at the same batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from timing import Comparison, compare

from crossalign.align import CROSS

DIM, BATCH, NEIGHBORS, CONTENT = 64, 2048, 5, 128
MODALITIES = ("image", "text")


def rows() -> Iterator[Comparison]:
    """A CROSS step on 100,000 items against one on 10,000; a ratio of 1 is no growth."""
    yield compare("CROSS step, 10 x the items (1 = no growth)", step(100_000), step(10_000))


def step(n_items: int) -> Callable[[], None]:
    """Forward and backward on a batch whose items come from 10,000 ids, whatever the catalogue.

    The tables a backbone would give are leaves without history, and only the batch's rows of the
    frozen features are projected, so what is timed is the alignment itself.
    """
    rng = torch.Generator().manual_seed(0)
    ids = torch.randperm(n_items, generator=rng)[:10_000]
    users = torch.randint(10_000, (BATCH,), generator=rng)
    items = ids[torch.randint(10_000, (BATCH,), generator=rng)]
    neighbors = ids[torch.randint(10_000, (n_items, NEIGHBORS), generator=rng)]
    user = torch.randn(10_000, DIM, generator=rng)
    item = torch.randn(n_items, DIM, generator=rng)
    features = {m: torch.randn(n_items, CONTENT, generator=rng) for m in MODALITIES}
    align = CROSS(DIM, MODALITIES, dict.fromkeys(MODALITIES, CONTENT), neighbors=neighbors)

    def run() -> None:
        align.zero_grad()
        align(user, item, features, users, items).backward()

    return run
