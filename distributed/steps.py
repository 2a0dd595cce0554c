"""The steps of an epoch, shared out among the trainers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError
from ..models.base import Backbone, Batch
from ..tensors.tables import Table
from ..training.negatives import NegativeSampler, draw_epoch
from ..training.options import TrainingOptions
from ..training.seeding import generator
from ..training.steps import BlockLosses, Losses, Trained, checked_fanouts
from .blocks import RemoteBlocks
from .cluster import Cluster
from .modules import Content, Modules, content_of
from .similar import item_hops


class Share(NamedTuple):
    """What one trainer does in a step."""

    batch: Batch
    weight: float
    """Of its losses in the mean over all trainers, so that this is the mean over all pairs."""


class RemoteLosses(BlockLosses):
    """`BlockLosses` whose content lies on the hosts."""

    def __init__(self, modules: Modules, options: TrainingOptions, cluster: Cluster) -> None:
        super().__init__(Trained(modules.backbone, modules.alignment, {}), options, modules.rows)
        self.cluster = cluster
        self._content = Content(modules.backbone)

    def content(self, rows: Mapping[str, Tensor], items: Tensor) -> Mapping[str, Table] | None:
        """Rows of the backbone's own tables; other features, from where they lie."""
        if self.trained.alignment is None:
            return None
        return content_of(self._content, self.cluster, rows, items)


class Shares:
    """Whose pairs are trained when.

    All trainers make the same number of steps, `n_pairs / batch_size`; in each, a trainer takes an
    equal share of the pairs of its own users. So every pair is trained on exactly once an epoch,
    and a step has `batch_size` pairs in all.

    Args:
        cluster: where.
        options: the options of training.
        seed: seed of the run.

    Raises:
        ConfigError: a trainer has fewer pairs than there are steps.
    """

    def __init__(self, cluster: Cluster, options: TrainingOptions, seed: int) -> None:
        self.rank, size = cluster.team.rank, cluster.team.size
        self.options = options
        self.seed = seed
        self.pairs = cluster.pairs("train")
        self.sampler = _sampler(cluster, self.pairs, options)
        counts = torch.zeros(size, dtype=torch.int64)
        counts[self.rank] = self.pairs.shape[1]
        self.counts = cluster.team.sum(counts)
        self.n_steps = -(-int(self.counts.sum()) // options.batch_size)
        if int(self.counts.min()) < self.n_steps:
            raise ConfigError(
                f"trainer {int(self.counts.argmin())} has {int(self.counts.min())} pairs for "
                f"{self.n_steps} steps: raise training.batch_size, or start fewer trainers"
            )

    def of_epoch(self, epoch: int) -> Iterator[Share]:
        """This trainer's batches of an epoch, drawn from the seed, the epoch and its number."""
        drawn = draw_epoch(
            self.pairs,
            self.sampler,
            -(-self.pairs.shape[1] // self.n_steps),
            generator(self.seed, f"batches {epoch} of {self.rank}"),
            shared_negatives=self.options.shared_negatives,
        )
        sizes = self.counts[None] // self.n_steps + (
            torch.arange(self.n_steps)[:, None] < self.counts[None] % self.n_steps
        )
        weights = (sizes[:, self.rank] * len(self.counts) / sizes.sum(1)).tolist()
        users, items = self.pairs[:, drawn.order]
        parts = (x.split(sizes[:, self.rank].tolist()) for x in (users, items, drawn.negatives))
        for weight, *batch in zip(weights, *parts, strict=True):
            yield Share(Batch(*batch), weight)


class RemoteSteps:
    """Steps on sampled blocks, each trainer with its share of the pairs.

    Args:
        modules: what is trained.
        cluster: where.
        options: the options of training.
        seed: seed of the run.

    Raises:
        ConfigError: `fanout` is not of the backbone's layers, or as `Shares`.
    """

    def __init__(
        self, modules: Modules, cluster: Cluster, options: TrainingOptions, seed: int
    ) -> None:
        self.options = options
        self.seed = seed
        self.of_batch = RemoteLosses(modules, options, cluster)
        self.similar = item_hops(modules.backbone, cluster)
        fanouts = checked_fanouts(modules.backbone, options)
        self.blocks = RemoteBlocks(cluster, fanouts, self.similar)
        self.shares = Shares(cluster, options, seed)

    def begin_epoch(self, backbone: Backbone, epoch: int) -> None:
        """Let the backbone redraw what changes between epochs.

        Raises:
            ConfigError: it trains on a part of the edges, which no host of a partition draws.
        """
        backbone.begin_epoch(generator(self.seed, f"backbone {epoch}"))
        if backbone.block_graph().kept is not None:
            raise ConfigError(
                f"{type(backbone).__name__} draws the edges of each epoch from the whole graph, "
                "which no host of a partition holds: set backbone.dropout to 0"
            )

    def losses(self, share: Share) -> Losses:
        """The losses of a batch; their weight in the mean is not in them."""
        batch = share.batch
        excluded = torch.stack(batch[:2]) if self.options.exclude_positives else None
        view = self.blocks.view(*self.of_batch.seeds(batch), excluded)
        return self.of_batch(batch, view)


def _sampler(cluster: Cluster, pairs: Tensor, options: TrainingOptions) -> NegativeSampler:
    """Negatives of this trainer's users, from all items that were seen in training."""
    n_items = cluster.parts.n_items
    never = None
    if options.negatives == "all_splits":
        never = torch.cat([cluster.pairs("valid"), cluster.pairs("test")], dim=1)
    return NegativeSampler(
        pairs,
        cluster.parts.n_users,
        n_items,
        power=options.negative_power,
        never=never,
        degree=cluster.data("item", "degree")[torch.arange(n_items)],
    )


def require_known(options: TrainingOptions) -> None:
    """Refuse what training on parts does not know.

    Raises:
        ConfigError: names the option.
    """
    refused = {
        "training.weight_decay": options.weight_decay > 0,
        "training.compile": options.compile,
        "training.replay": options.replay is not None,
        "training.precision": options.precision != "float32",
        "training.device": options.device == "cuda",
    }
    for name, is_set in refused.items():
        if is_set:
            raise ConfigError(f"option '{name}' is not known to training on parts: leave it out")
