"""An epoch of every backbone, and of LightGCN in plain COO propagation and Python-loop sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from plain import PlainLightGCN, train_epoch
from timing import Comparison, compare

from crossalign.datasets import Dataset
from crossalign.graphs import build_graph
from crossalign.models import BACKBONES, Backbone, LightGCN
from crossalign.training import NegativeSampler, epoch_batches, seed_everything

DIM, LAYERS, BATCH = 64, 3, 2048
Epoch = Callable[[], None]


def rows(dataset: Dataset) -> Iterator[Comparison]:
    """One epoch of LightGCN with batch 2048, dim 64, 3 layers: plain against ours."""
    model = LightGCN(build_graph(dataset), {}, dim=DIM, n_layers=LAYERS)
    ours = our_epoch(model, dataset)
    yield compare("LightGCN training epoch", plain_epoch(dataset), ours, rounds=3)


def backbone_rows(dataset: Dataset) -> Iterator[Comparison]:
    """Of every registered backbone, one epoch with batch 2048 against one of LightGCN.

    Options are the defaults, dim 64. Backbones that need features are left out without any.
    """
    lightgcn = our_epoch(make("lightgcn", dataset), dataset)
    for name in BACKBONES.names():
        cls = BACKBONES[name].cls
        if dataset.features or not (cls.needs_features or "similar" in cls.relations):
            yield compare(name, our_epoch(make(name, dataset), dataset), lightgcn, rounds=2)


def make(name: str, dataset: Dataset) -> Backbone:
    """A backbone with its default options."""
    cls = BACKBONES[name].cls
    seed_everything(0)
    return cls(build_graph(dataset, relations=cls.relations), dataset.features)


def plain_epoch(dataset: Dataset) -> Epoch:
    """A function that trains the plain model for one epoch."""
    model = PlainLightGCN(dataset.train, dataset.n_users, dataset.n_items, DIM, LAYERS)
    optimizer = torch.optim.Adam(model.parameters())
    return lambda: train_epoch(model, optimizer, dataset.train, BATCH)


def our_epoch(model: Backbone, dataset: Dataset) -> Epoch:
    """A function that trains `model` for one epoch, sampling and `begin_epoch` included."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    sampler = NegativeSampler(dataset.train, dataset.n_users, dataset.n_items)
    rng = torch.Generator().manual_seed(0)

    def epoch() -> None:
        model.begin_epoch(rng)
        for batch in epoch_batches(dataset.train, sampler, BATCH, rng):
            optimizer.zero_grad()
            torch.stack(list(model.loss(batch, model()).values())).sum().backward()
            optimizer.step()

    return epoch
