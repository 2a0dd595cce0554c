"""What every test gets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

# `python -m pytest` puts the current folder on the path; from the root of the repository, our
# `datasets` or `models` would then shadow another project's package of that name.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]

# One thread: sums do not depend on the machine's cores, and tiny tensors are fastest that way.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("CROSSALIGN_DATA")
    if not folder:
        pytest.skip("CROSSALIGN_DATA is not set: it names the folder of the real data sets")
    return Path(folder)
