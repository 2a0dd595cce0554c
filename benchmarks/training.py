"""An epoch of LightGCN against plain COO propagation and Python-loop sampling."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from plain import PlainLightGCN, train_epoch
from timing import Comparison, compare

from crossalign.datasets import Dataset
from crossalign.graphs import build_graph
from crossalign.models import LightGCN
from crossalign.training import NegativeSampler, epoch_batches

DIM, LAYERS, BATCH = 64, 3, 2048


def rows(dataset: Dataset) -> Iterator[Comparison]:
    """One epoch with batch 2048, dim 64, 3 layers."""
    yield compare("LightGCN training epoch", plain_epoch(dataset), our_epoch(dataset), rounds=3)


def plain_epoch(dataset: Dataset):  # noqa: ANN201
    """A function that trains the plain model for one epoch."""
    model = PlainLightGCN(dataset.train, dataset.n_users, dataset.n_items, DIM, LAYERS)
    optimizer = torch.optim.Adam(model.parameters())
    return lambda: train_epoch(model, optimizer, dataset.train, BATCH)


def our_epoch(dataset: Dataset):  # noqa: ANN201
    """A function that trains ours for one epoch, sampling included."""
    model = LightGCN(build_graph(dataset), {}, dim=DIM, n_layers=LAYERS)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    sampler = NegativeSampler(dataset.train, dataset.n_users, dataset.n_items)
    rng = torch.Generator().manual_seed(0)

    def epoch() -> None:
        for batch in epoch_batches(dataset.train, sampler, BATCH, rng):
            optimizer.zero_grad()
            torch.stack(list(model.loss(batch, model()).values())).sum().backward()
            optimizer.step()

    return epoch
