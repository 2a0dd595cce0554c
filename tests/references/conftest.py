"""A small data set that every reference line reads."""

from __future__ import annotations

import pytest

from crossalign.datasets import DataOptions, Dataset, load_dataset


@pytest.fixture(scope="session")
def planted() -> Dataset:
    return load_dataset("planted", options=DataOptions(planted_users=150, planted_items=100))
