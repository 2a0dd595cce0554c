"""The training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..align.base import Alignment
from ..datasets.dataset import Dataset
from ..errors import ConfigError, RunError
from ..evaluation.metrics import NOTHING_MEASURED, Metrics
from ..models.base import Backbone
from ..progress import Bar
from .checkpoint import Checkpoint
from .context import Row, RunContext
from .distributed import OthersCheckpoint
from .epoch import Training
from .mapped_table import MappedTable
from .optimizer import take_moments
from .options import TrainingOptions
from .seeding import deterministic_sums
from .state import TrainingState
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
    training = Training.prepare(backbone, alignment, dataset, features, options, seed, context)
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


def _require_a_pair_each(team: Team, options: TrainingOptions) -> None:
    if options.batch_size < team.size:
        raise ConfigError(
            f"{team.size} processes share batches of {options.batch_size} pairs: raise "
            "training.batch_size, or start fewer processes"
        )


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
