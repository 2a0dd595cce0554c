"""The losses of a step: on representations of the whole graph, or on those of a sampled part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import embedding

from ..align.base import Alignment, SomeRows, Table, Tables
from ..datasets.dataset import Dataset
from ..errors import ConfigError
from ..graphs.build import build_graph
from ..graphs.propagation import Propagation
from ..models.base import BACKBONES, Backbone, Batch, Representations
from .options import TrainingOptions
from .sampling import NegativeSampler, draw_epoch, epoch_batches
from .seeding import generator

if TYPE_CHECKING:
    from ..graphs.blocks import View

Terms = dict[str, Tensor]


class Losses(NamedTuple):
    """What one step minimises, and what it tells."""

    terms: Terms
    """Weighted terms by name; their sum is minimised."""
    diagnostics: Terms
    """Detached scalars that the alignment describes the step with."""


class Trained(NamedTuple):
    """Who takes part in a step."""

    backbone: Backbone
    alignment: Alignment | None
    features: Mapping[str, Table]
    """Content tables of the alignment; those that the backbone projects itself come on top."""

    def tables(self, representations: Representations) -> Tables:
        """What the alignment reads beside these representations."""
        user, item = representations
        content: dict[str, Table] = {**self.features, **self.backbone.modalities()}
        return Tables(user, item, content)

    def detached_tables(self) -> Tables:
        """Everything that the alignment may read, as it is now, without gradients."""
        with torch.no_grad():
            user, item, content = self.tables(self.backbone())
        return Tables(user.detach(), item.detach(), content)

    def losses(
        self, terms: Terms, representations: Representations, users: Tensor, items: Tensor
    ) -> Losses:
        """The backbone's terms, and those of the alignment on the pairs `users`, `items`."""
        if self.alignment is None:
            return Losses(dict(terms), {})
        aligned = self.alignment.terms(*self.tables(representations), users, items)
        named = {f"align/{name}": value for name, value in aligned.items()}
        return Losses({**terms, **named}, self.alignment.diagnostics())


class Steps(Protocol):
    """One epoch of losses, computed one after the other as the loop takes them."""

    def __call__(self, epoch: int, rng: torch.Generator) -> Iterator[Losses]:
        """The losses of every batch of epoch `epoch`; order and negatives come from `rng`."""


class WholeGraph:
    """Every step computes the representations of all users and items."""

    def __init__(self, trained: Trained, dataset: Dataset, options: TrainingOptions) -> None:
        self.trained = trained
        self.pairs = dataset.train
        self.options = options
        self.sampler = negative_sampler(dataset, options)

    def __call__(self, epoch: int, rng: torch.Generator) -> Iterator[Losses]:
        """The losses of every batch."""
        backbone, options = self.trained.backbone, self.options
        batches = epoch_batches(
            self.pairs,
            self.sampler,
            options.batch_size,
            rng,
            options.torch_device(),
            shared_negatives=options.shared_negatives,
        )
        for batch in batches:
            representations = backbone()
            terms = backbone.loss(batch, representations)
            yield self.trained.losses(terms, representations, batch.users, batch.items)


class SampledBlocks:
    """Every step computes the representations that its batch needs, from sampled neighbours.

    With all neighbours and no edge left out, the losses and gradients are those of `WholeGraph`.

    Args:
        trained: its backbone must name its tables in `row_tables`.
        dataset: edges are its training pairs.
        options: the options of training.
        seed: seed of the run; neighbours of an epoch are drawn from it and the epoch's number.

    Raises:
        ConfigError: the backbone does not know sampled blocks, or `fanout` is not of its layers.
    """

    def __init__(
        self, trained: Trained, dataset: Dataset, options: TrainingOptions, seed: int
    ) -> None:
        from ..graphs.blocks import BlockSampler  # DGL takes seconds to import

        self.trained = trained
        self.pairs = dataset.train
        self.options = options
        self.seed = seed
        self.sampler = negative_sampler(dataset, options)
        fanouts = checked_fanouts(trained.backbone, options)
        graph = build_graph(dataset)  # edges in the order of the training pairs
        self.blocks = BlockSampler(graph, fanouts, exclude=options.exclude_positives)
        self.on_rows = _OnRows(trained.backbone)

    def __call__(self, epoch: int, rng: torch.Generator) -> Iterator[Losses]:
        """The losses of every batch."""
        from ..graphs.dgl_import import dgl

        options = self.options
        drawn = draw_epoch(
            self.pairs,
            self.sampler,
            options.batch_size,
            rng,
            shared_negatives=options.shared_negatives,
        )
        negatives = torch.empty_like(drawn.order)
        negatives[drawn.order] = drawn.negatives
        # DGL's generator cannot be saved, so every epoch seeds it anew.
        own = generator(self.seed, f"blocks {epoch}")
        dgl.seed(int(torch.randint(2**31 - 1, (), generator=own)))

        def batch_of(edges: Tensor) -> Batch:
            return Batch(self.pairs[0, edges], self.pairs[1, edges], negatives[edges])

        def seeds_of(edges: Tensor) -> tuple[Tensor, Tensor]:
            return self.seeds(batch_of(edges))

        for edges, view in self.blocks.load(drawn.order, options.batch_size, seeds_of):
            yield self._losses(batch_of(edges), view)

    def seeds(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Distinct, sorted users and items of a batch, those that the alignment adds included."""
        items = torch.cat((batch.items, batch.negatives))
        if self.trained.alignment is not None:
            distinct = batch.items.unique().to(self.options.torch_device())
            items = torch.cat((items, self.trained.alignment.reach(distinct).cpu()))
        return batch.users.unique(), items.unique()

    def _losses(self, batch: Batch, view: View) -> Losses:
        device, backbone = self.options.torch_device(), self.trained.backbone
        view, batch = view.to(device), Batch(*(ids.to(device) for ids in batch))
        rows = {
            f"backbone.{name}": self._rows(getattr(backbone, name), ids)
            for name, node_type in backbone.row_tables.items()
            for ids in [view.users if node_type == "user" else view.items]
        }
        local = Batch(
            torch.searchsorted(view.seed_users, batch.users),
            torch.searchsorted(view.seed_items, batch.items),
            torch.searchsorted(view.seed_items, batch.negatives),
        )
        terms, (user, item) = functional_call(self.on_rows, rows, (local, view.propagation))
        by_id = SomeRows(view.seed_users, user), SomeRows(view.seed_items, item)
        representations = Representations(*(cast(Tensor, table) for table in by_id))
        return self.trained.losses(terms, representations, batch.users, batch.items)

    def _rows(self, table: Tensor, ids: Tensor) -> Tensor:
        """`table[ids]` of distinct ids; the gradient of a lazy table is sparse."""
        sparse = self.options.lazy_embeddings and isinstance(table, nn.Parameter)
        return embedding(ids, table, sparse=True) if sparse else table.index_select(0, ids)


def make_steps(trained: Trained, dataset: Dataset, options: TrainingOptions, seed: int) -> Steps:
    """The kind of step that the options ask for."""
    if options.sampling == "blocks":
        return SampledBlocks(trained, dataset, options, seed)
    return WholeGraph(trained, dataset, options)


class _OnRows(nn.Module):
    """Forward and loss in one call, so that both see the same rows in place of the tables."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: Batch, propagation: Propagation) -> tuple[Terms, Representations]:
        representations = self.backbone(propagation)
        return self.backbone.loss(batch, representations), representations


def negative_sampler(dataset: Dataset, options: TrainingOptions) -> NegativeSampler:
    """The sampler of negatives that the options ask for."""
    return NegativeSampler(
        dataset.train, dataset.n_users, dataset.n_items, power=options.negative_power
    )


def checked_fanouts(backbone: Backbone, options: TrainingOptions) -> tuple[int, ...]:
    """Neighbours to draw in each layer of `backbone`.

    Raises:
        ConfigError: the backbone does not know sampled blocks, or `fanout` is not of its layers.
    """
    if not backbone.row_tables:
        able = [name for name in BACKBONES.names() if BACKBONES[name].cls.row_tables]
        raise ConfigError(
            f"{type(backbone).__name__} cannot be trained on sampled blocks: set training.sampling "
            f"to full, or choose one of {', '.join(able)}"
        )
    fanouts = options.fanouts(backbone.n_layers)
    if len(fanouts) != backbone.n_layers:
        raise ConfigError(
            f"option 'training.fanout' has {len(fanouts)} numbers, but the backbone has "
            f"{backbone.n_layers} layers: give one for each, or a single number for all"
        )
    return fanouts
