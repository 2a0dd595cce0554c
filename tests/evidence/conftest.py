"""A small data set with content, and some model's scores on it."""

from __future__ import annotations

import pytest
import torch

from crossalign.datasets import DataOptions, Dataset, load_dataset
from crossalign.models import Representations


@pytest.fixture(scope="session")
def planted() -> Dataset:
    return load_dataset("planted", options=DataOptions(planted_users=150, planted_items=100))


@pytest.fixture(scope="session")
def model(planted) -> Representations:
    """Representations that know nothing."""
    draws = torch.Generator().manual_seed(0)
    return Representations(
        torch.randn(planted.n_users, 8, generator=draws),
        torch.randn(planted.n_items, 8, generator=draws),
    )
