"""Small problems, and the losses in published form."""

from types import SimpleNamespace

import published_losses
import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in every run and in any order of tests."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def published():
    """The losses in published form."""
    return published_losses


@pytest.fixture(scope="session")
def problem():
    """`problem(n_content, ...)`: small random tables, pairs with repeats, masks, neighbours."""
    return make_problem


def make_problem(n_content=2, n_pairs=14, missing=False, dtype=torch.float64, seed=0, dim=4):
    rng = torch.Generator().manual_seed(seed)
    n_users, n_items, k = 7, 11, 3
    names = ("image", "text", "audio", "video")[:n_content]

    def table(n):
        return torch.randn(n, dim, generator=rng, dtype=torch.float64).to(dtype).requires_grad_()

    neighbors = torch.randint(0, n_items, (n_items, k), generator=rng)
    neighbors[torch.rand(n_items, k, generator=rng) < 0.3] = -1
    neighbors[0] = -1
    masks = {name: torch.rand(n_items, generator=rng) < 0.35 for name in names}
    return SimpleNamespace(
        names=names,
        user=table(n_users),
        item=table(n_items),
        content=[table(n_items) for _ in names],
        users=torch.randint(0, n_users, (n_pairs,), generator=rng),
        items=torch.randint(0, n_items, (n_pairs,), generator=rng),
        neighbors=neighbors,
        missing=masks if missing else None,
    )
