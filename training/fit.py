"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..align.base import Alignment
from ..datasets.dataset import Dataset
from ..errors import ConfigError, RunError
from ..evaluation.metrics import NOTHING_MEASURED, Metrics, parse_metric
from ..evaluation.ranking import DEFAULT_KS, Evaluator
from ..models.base import Backbone
from ..progress import Bar
from .checkpoint import Checkpoint
from .compiling import compile_layers
from .context import Row, RunContext
from .distributed import OthersCheckpoint, SharedEvaluator
from .mapped_table import MappedTable
from .optimizer import make_optimizer, take_moments
from .options import TrainingOptions
from .precision import GradScaler, make_scaler
from .seeding import deterministic_sums, generator, seed_everything
from .state import StepLog, TrainingState, step_means
from .steps import Losses, Steps, Trained, make_steps
from .team import Team


@dataclass(frozen=True)
class FitResult:
    """What a training run found; the modules hold the weights of `best_epoch`.

    Attributes:
        history: one flat row per epoch: `epoch`, `learning_rate`, `loss` and `loss/<term>` (means
            over steps), `diagnostics/<name>`, and after an evaluation `valid/<metric>` and
            `best_epoch`.
        best_epoch: epoch with the best validation score, counted from 1; the last one where
            nothing is held out.
        best_valid: its validation metrics; none where nothing is held out.
        stopped_early: whether patience ran out before `epochs`.
        seconds: wall-clock time of all epochs, those before a resume included.
    """

    history: list[Row]
    best_epoch: int
    best_valid: Metrics
    stopped_early: bool
    seconds: float


def fit(
    backbone: Backbone,
    dataset: Dataset,
    options: TrainingOptions | None = None,
    *,
    alignment: Alignment | None = None,
    features: Mapping[str, Tensor | MappedTable] | None = None,
    seed: int = 0,
    context: RunContext | None = None,
) -> FitResult:
    """Train `backbone`, with `alignment` if given, and leave the best validation weights in both.

    The test split is never read. Where the data hold nothing out, nothing is validated: all epochs
    of the options are trained, and the last one's weights stay.

    Args:
        backbone: trained in place; moved to the device of the options.
        dataset: its training and validation splits are used.
        options: None takes the defaults.
        alignment: trained together with the backbone by the same optimiser.
        features: modality name -> `(n_items, d)` features for the alignment, in memory or on disk;
            None takes those of the data set. A table that the backbone projects itself replaces
            the one of its name.
        seed: seed of batches, negatives, the backbone's own draws and dropout. Parameters were
            initialised before: call `seed_everything` first.
        context: where the training is kept, who looks on and who takes part; None keeps all in
            memory and shows a bar.

    Raises:
        RunError: a loss is not finite, the folder cannot be used, or a process of the team is lost.
        DataError: the data cannot be trained on or validated.
        ConfigError: the device is not there, or batches have fewer pairs than there are processes.
    """
    options, context = options or TrainingOptions(), context or RunContext()
    team = context.team
    _require_a_pair_each(team, options)
    training = _Training.prepare(backbone, alignment, dataset, features, options, seed, team)
    modules = training.modules
    if context.moments is not None:
        take_moments(training.optimizer, modules, context.moments)

    state, checkpoint = TrainingState(), None
    if context.folder is not None:
        kind = Checkpoint if team.first else OthersCheckpoint
        checkpoint = kind(
            context.folder,
            modules,
            training.optimizer,
            training.rngs,
            (context.fingerprint, *context.former),
            training.scaler,
        )
        with team.first_ahead():
            state = checkpoint.resume() if context.resume else checkpoint.start()

    bar = Bar(
        desc=context.title or type(backbone).__name__,
        total=state.likely_end(options),
        initial=state.epoch,
        unit="epoch",
        dynamic_ncols=True,
        disable=not (context.progress and team.first),
    )
    on_cpu = options.torch_device().type == "cpu"
    try:
        with bar, deterministic_sums(options.deterministic and on_cpu):
            while not state.is_over(options):
                row, improved = training.epoch(state)
                if checkpoint is not None:
                    due = row["epoch"] % options.checkpoint_every == 0 or state.is_over(options)
                    checkpoint.save(state, improved=improved, due=due)
                _show(bar, row, state, options)
                if context.on_epoch is not None and team.first:
                    context.on_epoch(row)
    finally:  # also when training breaks off or is interrupted
        if state.best_weights:
            modules.load_state_dict(state.best_weights)
        modules.eval()

    return fit_result(state, options)


@dataclass(frozen=True)
class _Training:
    """What every epoch needs."""

    modules: nn.ModuleDict
    trained: Trained
    steps: Steps
    optimizer: torch.optim.Optimizer
    scaler: GradScaler
    rngs: Mapping[str, torch.Generator]
    evaluator: Evaluator | None
    options: TrainingOptions
    seed: int

    @classmethod
    def prepare(
        cls,
        backbone: Backbone,
        alignment: Alignment | None,
        dataset: Dataset,
        features: Mapping[str, Tensor | MappedTable] | None,
        options: TrainingOptions,
        seed: int,
        team: Team,
    ) -> _Training:
        """Seed, move to the device, and make all that trains; arguments as in `fit`."""
        device = options.torch_device()
        seed_everything(seed)
        rngs = {purpose: generator(seed, purpose) for purpose in ("batches", "backbone")}
        modules = nn.ModuleDict({"backbone": backbone})
        if alignment is not None:
            modules["alignment"] = alignment
        modules.to(device)
        if options.compile:
            compile_layers(backbone, device)
        team.copy_first(modules.state_dict().values())
        raw: Mapping[str, Tensor | MappedTable] = dataset.features if features is None else features
        read = backbone.unprojected(raw) if alignment is not None else {}
        tables = {name: table.to(device) for name, table in read.items()}
        trained = Trained(backbone, alignment, tables, team, options.gather)
        steps = make_steps(trained, dataset, options, seed)
        optimizer = make_optimizer(modules.parameters(), options)
        ks = (*DEFAULT_KS, parse_metric(options.monitor)[1])
        evaluator = SharedEvaluator(team, dataset, "valid", ks) if dataset.holds_out else None
        scaler = make_scaler(options)
        return cls(modules, trained, steps, optimizer, scaler, rngs, evaluator, options, seed)

    def epoch(self, state: TrainingState) -> tuple[Row, bool]:
        """The next epoch, validated if that is due.

        Returns:
            Its row of the history, and whether it is the best epoch so far.
        """
        options, team = self.options, self.trained.team
        epoch, started = state.epoch + 1, time.perf_counter()
        row: Row = {"epoch": epoch, "learning_rate": options.learning_rate_at(epoch)}
        for group in self.optimizer.param_groups:
            group["lr"] = row["learning_rate"]
        self.modules.train()
        _begin_epoch(self.trained, epoch, self.seed, self.rngs["backbone"])
        losses_of_steps = self.steps.losses(epoch, self.rngs["batches"])
        columns = _train_epoch(losses_of_steps, self.optimizer, self.scaler, self.modules, team)
        team.require_equal(self.modules, epoch)
        state.require_finite(columns, epoch)
        row |= step_means(columns)
        updated = time.perf_counter()

        improved, last = False, epoch == options.epochs
        if self.evaluator is None:
            improved = last
            if last:
                state.keep(epoch, self.modules)
        elif epoch % options.eval_every == 0 or last:
            metrics = _validate(self.modules, self.evaluator, epoch)
            improved = state.judge(epoch, metrics, options.monitor, self.modules)
            row |= {f"valid/{name}": value for name, value in metrics.items()}
            row["best_epoch"] = state.best_epoch
        state.finish(row, train=updated - started, valid=time.perf_counter() - updated)
        return row, improved


def _require_a_pair_each(team: Team, options: TrainingOptions) -> None:
    if options.batch_size < team.size:
        raise ConfigError(
            f"{team.size} processes share batches of {options.batch_size} pairs: raise "
            "training.batch_size, or start fewer processes"
        )


def _begin_epoch(trained: Trained, epoch: int, seed: int, rng: torch.Generator) -> None:
    """Redraw and rebuild what changes between epochs; the backbone draws from `rng`."""
    trained.team.begin_epoch(seed, epoch)
    trained.backbone.begin_epoch(rng)
    if trained.alignment is not None:
        # Its generator belongs to the epoch, so that there is no state to keep.
        own = generator(seed, f"alignment {epoch}")
        trained.alignment.begin_epoch(epoch, own, trained.detached_tables)


def _train_epoch(
    losses_of_steps: Iterable[Losses],
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
    modules: nn.ModuleDict,
    team: Team,
) -> Mapping[str, Sequence[float]]:
    """One update per step; returns the loss terms and diagnostics of every step, by name.

    Losses are computed one step after the other as this takes them: each after the update before.
    """
    log = StepLog()
    kept = modules.state_dict(keep_vars=True).values()
    buffers = [tensor for tensor in kept if not isinstance(tensor, nn.Parameter)]
    for losses in losses_of_steps:
        total = losses.total()
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(total).backward()
        team.average_gradients(modules.parameters())
        scaler.step(optimizer)
        scaler.update()
        team.copy_first(buffers)  # what a module remembers of its own part of a batch

        log.add(losses.named(total))
    return team.average(log.read())


@torch.no_grad()
def _validate(modules: nn.ModuleDict, evaluator: Evaluator, epoch: int) -> Metrics:
    modules.eval()
    try:
        return evaluator(modules["backbone"]())
    except RunError as error:
        raise RunError(f"training broke off in epoch {epoch}: {error}") from error


def fit_result(state: TrainingState, options: TrainingOptions) -> FitResult:
    """What the state of a training that is over tells.

    Raises:
        RunError: no epoch was evaluated.
    """
    if not state.best_epoch:  # a resumed run whose `epochs` was lowered
        raise RunError(
            f"no epoch was evaluated before epoch {state.epoch}: raise epochs or lower eval_every"
        )
    return FitResult(
        history=state.history,
        best_epoch=state.best_epoch,
        best_valid=state.best_metrics or NOTHING_MEASURED,
        stopped_early=state.epoch < options.epochs,
        seconds=sum(row["train"] + row["valid"] for row in state.timings),
    )


def _show(bar: Bar, row: Row, state: TrainingState, options: TrainingOptions) -> None:
    """Scores first, since a terminal cuts the line at its right end; then the losses."""
    monitor = options.monitor
    shown = {}
    if state.best_metrics is not None:
        bar.total = state.likely_end(options)
        shown = {"best": f"{state.best_score:.4f} (epoch {state.best_epoch})"}
    valid = row.get(f"valid/{monitor}")
    if valid is not None:
        shown = {monitor: f"{valid:.4f}", **shown}
    losses = {name: value for name, value in row.items() if name.startswith("loss")}
    shown["loss"] = f"{losses.pop('loss'):.4f}"
    shown |= {name.removeprefix("loss/"): f"{value:.3g}" for name, value in losses.items()}
    bar.set_postfix(shown, refresh=False)
    bar.update()
