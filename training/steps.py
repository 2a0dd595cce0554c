"""The losses of a step: on representations of the whole graph, or on those of a sampled part."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..datasets.dataset import Dataset
from ..errors import ConfigError
from ..graphs.blocks import BlockSampler
from ..graphs.build import build_graph
from ..models.base import BACKBONES, Backbone, Batch
from ..tensors.ids import HostIds
from ..tensors.representations import Representations
from ..tensors.tables import SomeRows, Table
from .ahead import made_ahead
from .negatives import NegativeSampler, draw_epoch, epoch_batches
from .options import TrainingOptions
from .precision import represent
from .replay import Replay, make_replay
from .rows import RowsOf, TableRows, with_first
from .seeding import generator
from .trained import Losses, Terms, Trained

if TYPE_CHECKING:
    from ..graphs.blocks import View


class Steps(Protocol):
    """What a step computes, and of which part of the graph."""

    def losses(self, epoch: int, rng: torch.Generator) -> Iterator[Losses]:
        """The losses of every batch of epoch `epoch`, each computed when the loop asks for it.

        Order and negatives come from `rng`.
        """


class WholeGraph:
    """Every step computes the representations of all users and items."""

    def __init__(
        self,
        trained: Trained,
        dataset: Dataset,
        options: TrainingOptions,
        replay: Replay | None = None,
    ) -> None:
        self.trained = trained
        self.pairs = dataset.train
        self.replay = replay
        self.options = options
        self.sampler = negative_sampler(dataset, options)

    def losses(self, epoch: int, rng: torch.Generator) -> Iterator[Losses]:
        """The losses of every batch."""
        backbone, options = self.trained.backbone, self.options
        device = options.torch_device()
        rows_will_do = self.trained.alignment is None and options.precision == "float32"
        pairs = self.pairs if self.replay is None else self.pairs[:, self.replay.draw(rng)]
        batches = epoch_batches(
            pairs,
            self.sampler,
            options.batch_size,
            rng,
            shared_negatives=options.shared_negatives,
        )
        for on_host in batches:
            batch = on_device(on_host, device)
            if rows_will_do:
                yield Losses(backbone.batch_loss(batch), {})
                continue
            representations = represent(backbone, options)
            terms = backbone.loss(batch, representations)
            yield self.trained.losses(terms, representations, batch.users, batch.items)


class SampledBlocks:
    """Every step computes the representations that its batch needs, from sampled neighbours.

    With all neighbours and no edge left out, the losses and gradients are those of `WholeGraph`.
    Of a team, each process computes its part of the representations, and all get the rest.

    Args:
        trained: its backbone must name its tables in `row_tables`.
        dataset: edges are its training pairs.
        options: the options of training.
        seed: seed of the run; neighbours of an epoch are drawn from it and the epoch's number.
        replay: draws the pairs of an epoch; None takes all.

    Raises:
        ConfigError: the backbone does not know sampled blocks, or `fanout` is not of its layers.
    """

    def __init__(
        self,
        trained: Trained,
        dataset: Dataset,
        options: TrainingOptions,
        seed: int,
        replay: Replay | None = None,
    ) -> None:
        self.trained = trained
        self.replay = replay
        self.pairs = dataset.train
        self.options = options
        self.seed = seed
        self.sampler = negative_sampler(dataset, options)
        fanouts = checked_fanouts(trained.backbone, options)
        graph = build_graph(dataset)  # edges in the order of the training pairs
        self.blocks = BlockSampler(graph, fanouts, exclude=options.exclude_positives)
        self.team = trained.team
        rows = TableRows(trained.backbone, lazy=options.lazy_embeddings)
        self.of_batch = BlockLosses(trained, options, rows)

    def losses(self, epoch: int, rng: torch.Generator) -> Iterator[Losses]:
        """The losses of every batch."""
        options = self.options
        n_pairs = self.pairs.shape[1]
        taken = torch.arange(n_pairs) if self.replay is None else self.replay.draw(rng)
        drawn = draw_epoch(
            self.pairs if self.replay is None else self.pairs[:, taken],
            self.sampler,
            options.batch_size,
            rng,
            shared_negatives=options.shared_negatives,
        )
        order = taken[drawn.order]
        negatives = order.new_empty(n_pairs)
        negatives[order] = drawn.negatives
        team = self.team
        own = generator(self.seed, f"blocks {epoch}")
        seed = int(torch.randint(2**31 - 1, (team.size,), generator=own)[team.rank])

        def batch_of(edges: Tensor) -> Batch:
            return Batch(self.pairs[0, edges], self.pairs[1, edges], negatives[edges])

        def seeds_of(edges: Tensor) -> tuple[Tensor, Tensor]:
            users, items = self.of_batch.seeds(batch_of(edges))
            return users[team.part(len(users))], items[team.part(len(items))]

        blocks = self.blocks_of_epoch(seed)
        views = blocks.load(order, options.batch_size, seeds_of)
        for edges, view in made_ahead(views):
            yield self.of_batch(batch_of(edges), view)

    def blocks_of_epoch(self, seed: int = 0) -> BlockSampler:
        """Draws from what the backbone keeps of the graph in this epoch."""
        self.blocks.draw_from(*self.trained.backbone.block_graph(), seed=seed)
        return self.blocks


class BlockLosses:
    """The losses of a batch from a view of the graph, and from rows by id.

    Args:
        trained: who takes part.
        options: the options of training.
        rows: where rows come from.
    """

    def __init__(self, trained: Trained, options: TrainingOptions, rows: RowsOf) -> None:
        self.trained = trained
        self.options = options
        self.rows = rows
        self.loss = _Loss(trained.backbone)

    def seeds(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Distinct, sorted users and items of a batch, those that the alignment adds included."""
        items = torch.cat((batch.items, batch.negatives))
        if self.trained.alignment is not None:
            distinct = batch.items.unique().to(self.options.torch_device())
            items = torch.cat((items, self.trained.alignment.reach(distinct).cpu()))
        return batch.users.unique(), items.unique()

    def __call__(self, batch: Batch, view: View) -> Losses:
        """The losses of `batch`, whose seeds `view` was drawn around."""
        device, team = self.options.torch_device(), self.trained.team
        users, items = self.seeds(batch) if team.size > 1 else (view.seed_users, view.seed_items)
        view, batch = view.to(device), on_device(batch, device)
        users, items = users.to(device), items.to(device)
        backbone = self.trained.backbone
        rows = self.rows(backbone.row_tables, view.users, view.items)
        if team.size == 1:
            rows, of_seeds = self._with_seeds(rows, view)
        forward = functools.partial(functional_call, backbone, rows)
        with team.own_draws():
            own = represent(lambda: forward((view.propagation,)), self.options)
        if team.size > 1:
            of_seeds = self.rows(backbone.row_tables, users, items)
        of_seeds |= self.rows(backbone.loss_tables, users, items)
        user, item = team.gather(own.user, len(users)), team.gather(own.item, len(items))
        local = Batch(
            torch.searchsorted(users, batch.users),
            torch.searchsorted(items, batch.items),
            torch.searchsorted(items, batch.negatives),
        )
        in_place = {f"backbone.{name}": table for name, table in of_seeds.items()}
        terms = functional_call(self.loss, in_place, (local, Representations(user, item)))
        by_id = SomeRows(users, user), SomeRows(items, item)
        representations = Representations(*(cast(Tensor, table) for table in by_id))
        content = self.content(of_seeds, items)
        return self.trained.losses(terms, representations, batch.users, batch.items, content)

    def _with_seeds(
        self, rows: Mapping[str, Tensor], view: View
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Rows of the view by name, and those of its seeds, the first of them."""
        n = {"user": view.n_seed_users, "item": view.n_seed_items}
        kinds = self.trained.backbone.row_tables
        found = {
            name: with_first(table, n[kinds.get(name) or kinds[name.partition(".")[0]]])
            for name, table in rows.items()
        }
        return {k: all_ for k, (all_, _) in found.items()}, {
            k: first for k, (_, first) in found.items()
        }

    def content(self, rows: Mapping[str, Tensor], items: Tensor) -> Mapping[str, Table] | None:
        """What the alignment reads of content, if not the backbone's tables in memory."""


def make_steps(
    trained: Trained,
    dataset: Dataset,
    options: TrainingOptions,
    seed: int,
    seen: Tensor | None = None,
) -> Steps:
    """The kind of step that the options ask for; `seen` as in `make_replay`."""
    replay = make_replay(options, seen)
    if options.sampling == "blocks":
        return SampledBlocks(trained, dataset, options, seed, replay)
    return WholeGraph(trained, dataset, options, replay)


class _Loss(nn.Module):
    """The backbone's loss as a forward, so that it can see rows in place of the tables."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: Batch, representations: Representations) -> Terms:
        return self.backbone.loss(batch, representations)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """A batch of the CPU on `device`, where the host goes on knowing its ids."""
    return batch if device.type == "cpu" else Batch(*(HostIds.on(device, ids) for ids in batch))


def negative_sampler(dataset: Dataset, options: TrainingOptions) -> NegativeSampler:
    """The sampler of negatives that the options ask for."""
    held_out = torch.cat([dataset.valid, dataset.test], dim=1)
    return NegativeSampler(
        dataset.train,
        dataset.n_users,
        dataset.n_items,
        power=options.negative_power,
        never=held_out if options.negatives == "all_splits" else None,
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
