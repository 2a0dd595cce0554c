"""All randomness of a run from one seed."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices).

    The library draws from its own generators (see `generator`). The global ones are left to code
    that has no other way: parameter initialisation and dropout.

    Raises:
        ConfigError: `seed` is negative or does not fit 32 bits.
    """
    _check(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for code outside the library
    torch.manual_seed(seed)


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator whose stream depends on the seed and on what it is for.

    Streams of different purposes are independent, so that one more draw for one purpose does not
    shift the others; being on the CPU, they give the same numbers whatever the device.

    Args:
        seed: seed of the run.
        purpose: any name, such as `negatives`.

    Raises:
        ConfigError: `seed` is negative or does not fit 32 bits.
    """
    _check(seed)
    entropy = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
    state = int(entropy.generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)  # manual_seed takes 63 bits


@contextmanager
def deterministic_sums(enabled: bool) -> Iterator[None]:
    """Make torch add the gradients of repeated rows in a fixed order, within the block.

    On a CPU with several threads `table[rows]` otherwise adds float32 gradients atomically, in the
    order in which threads arrive. The settings of torch are restored afterwards.
    """
    if not enabled:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic
    fill = debugging.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    debugging.fill_uninitialized_memory = False  # a debugging aid that costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        debugging.fill_uninitialized_memory = fill


def _check(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed is {seed}: choose an integer from 0 to {2**32 - 1}")
