"""One training on a partition, from the folder of parts to the run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from ..align.base import Alignment
from ..config import RunConfig
from ..errors import ConfigError
from ..evaluation.metrics import Metrics, parse_metric
from ..evaluation.ranking import DEFAULT_KS
from ..fileio import write_json, write_text
from ..graphs.dgl_import import dgl
from ..locks import only_writer
from ..progress import Bar
from ..report import write_report
from ..run_files import HISTORY_FILE, METRICS_FILE, TIMINGS_FILE
from ..run_folder import refuse_taken_folder, save_config, summarise_training, versions
from ..run_identity import settings_hash
from ..tensors.tables import Tables
from ..training.fit import FitResult, fit_result
from ..training.optimizer import make_optimizer
from ..training.seeding import generator
from ..training.state import StepLog, TrainingState, step_means
from .checkpoint import PartCheckpoint
from .cluster import Cluster
from .evaluation import RemoteEvaluator, represent_all
from .folder import array
from .modules import Modules, make_modules
from .steps import RemoteSteps, require_known
from .tables import RowAdam


@dataclass(frozen=True)
class PartsRun:
    """A finished training on parts; metrics are those of the best epoch."""

    folder: Path
    valid: Metrics
    test: Metrics
    training: FitResult


def train_parts(
    config: RunConfig,
    folder: str | Path,
    cluster: Cluster,
    *,
    resume: bool = False,
    progress: bool = True,
    command: str = "",
) -> PartsRun:
    """Train what `config` says on the parts of `cluster`; every trainer calls it alike.

    The first one writes the run folder, which holds afterwards what `pipeline.train` leaves there
    (but not the metrics of single users), by the ids of the data.

    Args:
        config: the whole configuration; its path names the data, for those who read the run.
        folder: run folder, on a disk that all hosts see.
        cluster: where.
        resume: go on from the last checkpoint, of whatever number of hosts.
        progress: show a bar, in the first trainer.
        command: command line to repeat the run, for the report.

    Raises:
        CrossalignError: anything the user can mend, in one line.
    """
    with only_writer(folder) if cluster.team.first else nullcontext():
        return _train(
            config, Path(folder), cluster, resume=resume, progress=progress, command=command
        )


def _train(
    config: RunConfig,
    folder: Path,
    cluster: Cluster,
    *,
    resume: bool,
    progress: bool,
    command: str,
) -> PartsRun:
    """`train_parts`; of all processes the first one alone writes the run folder."""
    started, team = time.perf_counter(), cluster.team
    require_known(config.training)
    if config.evidence.kind != "none":
        raise ConfigError(
            "evidence is not added to a training on parts: leave it out, and add it to the run "
            "with `crossalign evidence`"
        )
    refuse_taken_folder(folder, config, resume=resume)
    modules = make_modules(config, cluster)
    training = _Training(config, cluster, modules)
    fingerprint = settings_hash(config, cluster.parts.data_hash)
    checkpoint = PartCheckpoint(folder, modules, cluster, training.optimizers, fingerprint)
    cluster.barrier()  # before a trainer sees what the first one writes
    if team.first:
        save_config(folder, config)
    state = checkpoint.resume() if resume else TrainingState()
    if team.first:
        _rewrite(folder, state)
    prepared = time.perf_counter()

    bar = Bar(
        total=config.training.epochs,
        initial=state.epoch,
        unit="epoch",
        dynamic_ncols=True,
        disable=not (progress and team.first),
    )
    with bar:
        while not state.is_over(config.training):
            improved = training.epoch(state)
            due = state.epoch % config.training.checkpoint_every == 0
            if improved or due or state.is_over(config.training):
                checkpoint.save(state)
            if team.first:
                _append(folder, state)
            bar.set_postfix(loss=f"{state.history[-1]['loss']:.4f}", refresh=False)
            bar.update()
    result = fit_result(state, config.training)
    trained = time.perf_counter()

    checkpoint.load(state.best_epoch)
    valid, test = (training.evaluate(split, config.evaluation.ks) for split in ("valid", "test"))
    if team.first:
        checkpoint.join(state.best_epoch)
        seconds = {
            "prepare": prepared - started,
            "train": trained - prepared,
            "evaluate": time.perf_counter() - trained,
        }
        summary = summarise_training(config, result, valid, test) | _facts(cluster)
        summary |= {"seconds": seconds, "command": command, "versions": versions()}
        summary["data_hash"] = cluster.parts.data_hash
        write_json(folder / METRICS_FILE, summary)
        write_report(folder)
    cluster.barrier()
    return PartsRun(folder, valid, test, result)


class _Training:
    """What every epoch needs."""

    def __init__(self, config: RunConfig, cluster: Cluster, modules: Modules) -> None:
        self.config = config
        self.cluster = cluster
        self.modules = modules
        self.steps = RemoteSteps(modules, cluster, config.training, config.seed)
        options = config.training
        self.dense = [p for p in modules.dense.parameters() if p.requires_grad]
        # An optimiser wants a parameter, and a backbone of tables alone leaves none.
        held = self.dense or [torch.nn.Parameter(torch.zeros(1))]
        tables = list(modules.rows.trained.values())
        self.optimizers = (make_optimizer(held, options), RowAdam(tables, options.learning_rate))

    def epoch(self, state: TrainingState) -> bool:
        """The next epoch, validated if that is due; whether it is the best so far."""
        options, team = self.config.training, self.cluster.team
        epoch, started = state.epoch + 1, time.perf_counter()
        rate = options.learning_rate_at(epoch)
        self._begin(epoch, rate)
        log, (dense, sparse) = StepLog(), self.optimizers
        for share in self.steps.shares.of_epoch(epoch):
            losses = self.steps.losses(share)
            total = losses.total()
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            (share.weight * total).backward()
            team.average_gradients(self.dense)
            dense.step()
            sparse.step()
            log.add(losses.named(total))
        columns = team.average(log.read())
        state.require_finite(columns, epoch)
        row = {"epoch": epoch, "learning_rate": rate, **step_means(columns)}
        updated, improved = time.perf_counter(), False
        if epoch % options.eval_every == 0 or epoch == options.epochs:
            ks = (*DEFAULT_KS, parse_metric(options.monitor)[1])
            metrics = self.evaluate("valid", ks)
            improved = state.judge(epoch, metrics, options.monitor, torch.nn.Module())
            row |= {f"valid/{name}": value for name, value in metrics.items()}
            row["best_epoch"] = state.best_epoch
        state.finish(row, train=updated - started, valid=time.perf_counter() - updated)
        return improved

    def _begin(self, epoch: int, rate: float) -> None:
        """Redraw what changes between epochs, and set the learning rate."""
        config, rank = self.config, self.cluster.team.rank
        for group in self.optimizers[0].param_groups:
            group["lr"] = rate
        self.optimizers[1].set_rate(rate)
        self.modules.dense.train()
        own = generator(config.seed, f"blocks {epoch} of {rank}")
        dgl.seed(int(torch.randint(2**31 - 1, (), generator=own)))
        torch.manual_seed(int(torch.randint(2**31 - 1, (), generator=own)))  # dropout
        self.steps.begin_epoch(self.modules.backbone, epoch)
        if self.modules.alignment is not None:
            rng = generator(config.seed, f"alignment {epoch}")
            self.modules.alignment.begin_epoch(epoch, rng, _no_tables(self.modules.alignment))

    def evaluate(self, split: str, ks: tuple[int, ...]) -> Metrics:
        """Metrics on a split, with the weights as they are."""
        self.modules.dense.eval()
        found = represent_all(self.modules, self.cluster, self.steps.similar)
        return RemoteEvaluator(self.cluster, split, ks)(found)


def _no_tables(alignment: Alignment) -> Callable[[], Tables]:
    """Refuses what would gather all rows in one place."""

    def refuse() -> Tables:
        raise ConfigError(
            f"alignment '{type(alignment).__name__}' reads whole tables before each epoch, which "
            "no host of a partition holds: choose other options (of CLA, codes=sinkhorn), or "
            "train on one host"
        )

    return refuse


def _facts(cluster: Cluster) -> dict[str, object]:
    """What `metrics.json` says of the data."""
    parts = cluster.parts
    facts = {
        "users": parts.n_users,
        "items": parts.n_items,
        "modalities": list(parts.modalities),
        **{name: array(cluster.folder, name).shape[1] for name in ("train", "valid", "test")},
        "intake": None,
        "notes": [f"trained on {len(parts)} part(s) by {cluster.team.size} trainer(s)"],
    }
    return {"dataset": parts.name, "dataset_facts": facts}


def _rewrite(folder: Path, state: TrainingState) -> None:
    """The files may be ahead of the checkpoint."""
    for name, rows in ((HISTORY_FILE, state.history), (TIMINGS_FILE, state.timings)):
        write_text(folder / name, "".join(json.dumps(row) + "\n" for row in rows))


def _append(folder: Path, state: TrainingState) -> None:
    for name, rows in ((HISTORY_FILE, state.history), (TIMINGS_FILE, state.timings)):
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1]) + "\n")
