"""A tiny data set with content, whose scores can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from crossalign.datasets import Dataset

TRAIN = [(0, 0), (0, 1), (1, 2), (1, 0), (2, 3), (3, 4), (3, 1), (3, 5)]
VALID = [(0, 4), (1, 3), (2, 0)]
TEST = [(0, 2), (0, 5), (1, 1), (2, 5), (3, 0)]


def tiny() -> Dataset:
    """4 users, 6 items, content of widths 3 and 2; item 5 lacks its text."""
    generator = torch.Generator().manual_seed(3)
    text = torch.randn(6, 2, generator=generator)
    text[5] = 0
    missing = torch.zeros(6, dtype=torch.bool)
    missing[5] = True
    splits = (torch.tensor(pairs).T.contiguous() for pairs in (TRAIN, VALID, TEST))
    return Dataset(
        "tiny",
        4,
        6,
        *splits,
        features={"image": 20 * torch.randn(6, 3, generator=generator), "text": text},
        missing={"text": missing},
    )


@pytest.fixture
def dataset() -> Dataset:
    return tiny()
