"""One seed, independent streams."""

import random

import numpy as np
import pytest
import torch

from crossalign.errors import ConfigError
from crossalign.training import generator, seed_everything


def test_same_seed_same_numbers():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    seed_everything(4)
    first = draw()
    assert draw() != first
    seed_everything(4)
    assert draw() == first


def test_streams_depend_on_seed_and_purpose():
    streams = {
        (seed, purpose): tuple(torch.rand(4, generator=generator(seed, purpose)).tolist())
        for seed in (0, 1)
        for purpose in ("batches", "backbone")
    }
    assert len(set(streams.values())) == 4
    again = torch.rand(4, generator=generator(1, "batches"))
    assert tuple(again.tolist()) == streams[1, "batches"]


def test_generator_leaves_global_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    torch.rand(100, generator=generator(0, "batches"))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range(seed):
    for use in (seed_everything, lambda s: generator(s, "x")):
        with pytest.raises(ConfigError, match=f"seed is {seed}"):
            use(seed)
