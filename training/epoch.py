"""One epoch of a training: what it needs, its steps, and its validation."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..align.base import Alignment
from ..datasets.dataset import Dataset
from ..errors import RunError
from ..evaluation.metrics import Metrics, parse_metric
from ..evaluation.ranking import DEFAULT_KS, Evaluator
from ..models.base import Backbone
from .compiling import compile_layers
from .context import Row, RunContext
from .distributed import SharedEvaluator
from .mapped_table import MappedTable
from .optimizer import make_optimizer
from .options import TrainingOptions
from .precision import GradScaler, make_scaler
from .seeding import generator, seed_everything
from .state import StepLog, TrainingState, step_means
from .steps import Steps, make_steps
from .team import Team
from .trained import Losses, Trained


@dataclass(frozen=True)
class Training:
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
        context: RunContext,
    ) -> Training:
        """Seed, move to the device, and make all that trains; arguments as in `fit`."""
        device, team = options.torch_device(), context.team
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
        steps = make_steps(trained, dataset, options, seed, context.seen)
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
