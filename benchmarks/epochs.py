"""Epochs of plain and of our models, timed whole or scaled up from some steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from plain.training import Sampler, train_step
from timing import Seconds, seconds
from torch import nn

from crossalign.align.base import Alignment
from crossalign.datasets import Dataset
from crossalign.models import Backbone
from crossalign.training import TrainingOptions
from crossalign.training.optimizer import make_optimizer
from crossalign.training.steps import Trained, make_steps

BATCH = 2048


def n_batches(data: Dataset) -> int:
    """Steps of an epoch."""
    return math.ceil(data.train.shape[1] / BATCH)


def n_full_batches(data: Dataset) -> int:
    """Steps of an epoch with a whole batch, or the only one."""
    return max(n_batches(data) - 1, 1)


def scaled_epoch(
    begin: Callable[[], object], step: Iterator[None], data: Dataset, n: int
) -> Seconds:
    """An epoch as its beginning, and `n` steps scaled up to all of them.

    The first of these steps is timed by itself and not scaled up: LATTICE builds graphs in it.
    """

    def run() -> float:
        beginning = seconds(begin) + seconds(lambda: next(step))
        some = seconds(lambda: list(islice(step, n)))
        return beginning + some * (n_batches(data) - 1) / n

    return run


def plain_epoch(model: nn.Module, data: Dataset, n: int, *, negatives: bool = True) -> Seconds:
    """An epoch of a plain model with Adam."""
    optimizer = torch.optim.Adam(model.parameters())
    sampler = Sampler(data.train) if negatives else None

    def steps() -> Iterator[None]:
        while True:
            for batch in torch.randperm(data.train.shape[1]).split(BATCH)[: n_full_batches(data)]:
                train_step(model, optimizer, sampler, data.train[:, batch])
                yield

    begin = getattr(model, "begin_epoch", lambda: None)
    return scaled_epoch(begin, steps(), data, n)


def our_epoch(
    model: Backbone, data: Dataset, n: int, alignment: Alignment | None = None
) -> Seconds:
    """An epoch of ours, sampling and `begin_epoch` included, with an alignment if one is given."""
    options = TrainingOptions(batch_size=BATCH, device="cpu")
    both = nn.ModuleList([model] if alignment is None else [model, alignment])
    optimizer = make_optimizer(both.parameters(), options)
    content = {} if alignment is None else data.features
    steps = make_steps(Trained(model, alignment, content), data, options, seed=0)
    rng = torch.Generator().manual_seed(0)

    def updates() -> Iterator[None]:
        while True:
            for losses in islice(steps.losses(1, rng), n_full_batches(data)):
                optimizer.zero_grad()
                losses.total().backward()
                optimizer.step()
                yield

    return scaled_epoch(lambda: model.begin_epoch(rng), updates(), data, n)
