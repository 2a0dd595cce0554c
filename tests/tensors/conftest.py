"""Random numbers of the tests of plain tensors."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in every run and in any order of tests."""
    torch.manual_seed(0)
