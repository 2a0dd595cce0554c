"""A small data set, made without any reader."""

from __future__ import annotations

import pytest
import torch

from crossalign.datasets.dataset import Dataset


@pytest.fixture
def small_dataset():
    """30 users, 20 items, two modalities; item 19 has no training row, item 3 no image."""
    rng = torch.Generator().manual_seed(0)
    train = torch.nonzero(torch.rand(30, 19, generator=rng) < 0.2).T.contiguous()
    users = train[0].unique()
    missing = torch.zeros(20, dtype=torch.bool)
    missing[3] = True
    image = torch.randn(20, 6, generator=rng)
    image[3] = 0
    return Dataset(
        name="small",
        n_users=30,
        n_items=20,
        train=train,
        valid=torch.stack([users, torch.full_like(users, 19)]),
        test=torch.stack([users[:5], torch.full_like(users[:5], 18)]),
        features={"image": image, "text": torch.randn(20, 4, generator=rng)},
        missing={"image": missing},
    )
