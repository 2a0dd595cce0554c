"""What the formulas of docs/distributed.md say of a run of `hosts.py`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from sampled import WIDTH, lightgcn

from crossalign.datasets import Dataset, load_dataset
from crossalign.graphs.adjacency import SampledRelation
from crossalign.models import Batch
from crossalign.training import TrainingOptions
from crossalign.training.steps import SampledBlocks

MIB = 1 << 20


@dataclass(frozen=True)
class Paper:
    """Attributes: MiB of a host while it trains and while it evaluates, and of a step's traffic."""

    training_mib: float
    evaluating_mib: float
    wire_mib: float

    @classmethod
    def of(cls, options: argparse.Namespace, hosts: int, cut: float) -> Paper:
        """For `hosts` hosts, with the share `cut` of the pairs between two of them.

        The distinct nodes and the edges of a step are drawn here, as one trainer draws its part
        of a batch.
        """
        data = load_dataset(options.data)
        n, edges, d = data.n_users + data.n_items, data.train.shape[1], options.dim
        shared = 64 * edges + n * (12 * d + 4) + 32 * edges + 4 * 2 * WIDTH * data.n_items
        training = shared / hosts + 16 * data.n_items
        nodes, drawn = _of_a_step(data, options, hosts)
        # A third of a batch's nodes are negatives, which are drawn from the items of all hosts.
        share = 2 / 3 * cut + 1 / 3 * (hosts - 1) / hosts
        wire = hosts * share * (nodes * (4 * d + 4 * d + 8) + 24 * drawn)
        evaluating = training + 16 * n * d / hosts
        return cls(training / MIB, evaluating / MIB, wire / MIB)


def _of_a_step(data: Dataset, options: argparse.Namespace, hosts: int) -> tuple[int, int]:
    """Distinct nodes and edges that one of `hosts` trainers reads in a step."""
    trained = lightgcn(data, len(options.fanout))
    training = TrainingOptions(
        batch_size=options.batch, sampling="blocks", fanout=tuple(options.fanout)
    )
    steps = SampledBlocks(trained, data, training, 0)
    rng = torch.Generator().manual_seed(0)
    own = torch.randperm(steps.pairs.shape[1], generator=rng)[: options.batch // hosts]
    users, items = steps.pairs[:, own]
    negatives = torch.randint(data.n_items, items.shape, generator=rng)
    view = steps.blocks_of_epoch().view(*steps.of_batch.seeds(Batch(users, items, negatives)))
    relations = [m for m in view.propagation.modules() if isinstance(m, SampledRelation)]
    return len(view.users) + len(view.items), sum(len(r.indices) for r in relations)
