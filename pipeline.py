"""One training from data to report, top to bottom.

    load -> build graphs -> make backbone and alignment -> fit -> evaluate -> save

Every step is a plain function that a notebook can call by itself.
"""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from .align import ALIGNERS, Alignment, alignment_directions
from .config import RunConfig
from .datasets import Dataset, load_dataset
from .errors import ConfigError
from .evaluation import (
    BlockScorer,
    DirectionAgreement,
    Metrics,
    direction_agreement,
    evaluate,
)
from .evaluation.metrics import NOTHING_MEASURED
from .evidence.kinds import require_possible
from .evidence.of_run import Measured, final_scores, measure_run
from .fileio import require_memory, write_json
from .graphs import build_graph, dataset_hash
from .graphs.dgl_import import DGLGraph
from .graphs.neighbor_search import make_neighbors
from .locks import only_writer
from .models import BACKBONES, Backbone
from .own_parts import bring_in
from .renewal import moments_of, remember, warm_start
from .renewal.refit import described_by, refuse_unvalidated, take_evidence
from .report import write_report
from .report.opening import opening_lines
from .run_data import data_of_run
from .run_files import METRICS_FILE, TENSORBOARD_FOLDER
from .run_folder import (
    former_fingerprints,
    refuse_taken_folder,
    remember_command,
    require_run,
    run_config,
    run_fingerprint,
    save_config,
    set_aside,
    summarise,
    versions,
)
from .tensors.representations import Representations
from .tensors.tables import Tables
from .training import ALONE, FitResult, RunContext, Team, fit, load_weights, seed_everything
from .training.tensorboard import tensorboard_log

BYTES_OF_WEIGHT = 16
"""In single precision: the weight, its gradient, and two moments of Adam."""

logger = logging.getLogger(__name__)

Resume = bool | Literal["anew"]
"""Whether a folder that holds a run is gone on with, or begun anew."""


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: run folder.
        backbone: with the best validation weights.
        alignment: likewise, or None.
        valid: validation metrics of the best epoch; none where nothing is held out.
        test: test metrics of the best epoch; likewise.
        directions: agreement of the learnt directions with the truth of planted data, else None.
        training: how the training went.
    """

    folder: Path
    backbone: Backbone
    alignment: Alignment | None
    valid: Metrics
    test: Metrics
    directions: DirectionAgreement | None
    training: FitResult


def train(
    config: RunConfig,
    folder: str | Path,
    *,
    resume: Resume = False,
    progress: bool = True,
    command: str = "",
    tensorboard: bool = False,
    team: Team = ALONE,
) -> Run:
    """Train what `config` says and leave everything in the run folder `folder`.

    Args:
        config: the whole configuration.
        folder: run folder; made if absent. `run_files` says what it holds afterwards.
        resume: continue an interrupted run of the same configuration and data; `anew` begins it at
            its first epoch, and keeps what the folder holds in a folder inside it.
        progress: show progress bars.
        command: command line to repeat the run, for the report.
        tensorboard: also write every row of the history for TensorBoard.
        team: the processes that train together; the first one calls this, the others `assist`.

    Raises:
        CrossalignError: anything the user can mend, in one line.
    """
    with only_writer(folder):
        return _train(
            config,
            Path(folder),
            resume=resume,
            progress=progress,
            command=command,
            tensorboard=tensorboard,
            team=team,
        )


def _train(
    config: RunConfig,
    folder: Path,
    *,
    resume: Resume,
    progress: bool,
    command: str,
    tensorboard: bool,
    team: Team,
) -> Run:
    """`train`, by the only process that writes into the folder."""
    started = time.perf_counter()
    bring_in(config.imports)  # a worker process has read no configuration
    refuse_taken_folder(folder, config, resume=bool(resume))
    config, dataset = _read_data(config, folder, resume)
    fingerprint = run_fingerprint(config, dataset)
    former = former_fingerprints(folder, config, dataset)
    described = described_by(config)
    refuse_unvalidated(config, dataset)
    for line in opening_lines(dataset):
        logger.info(line)
    require_possible(dataset, config.evidence)
    backbone, alignment = modules = make_modules(config, dataset)
    start = warm_start(config, dataset, *modules)
    if resume == "anew":
        set_aside(folder)
    command = remember_command(folder, command, config, resume=bool(resume))
    save_config(folder, config)  # not before: what cannot be made leaves no run behind
    prepared = time.perf_counter()

    logged = tensorboard_log(folder / TENSORBOARD_FOLDER) if tensorboard else nullcontext()
    with logged as on_epoch:
        context = RunContext(
            folder,
            bool(resume),
            fingerprint,
            progress,
            on_epoch,
            team,
            moments=moments_of(start),
            title=method_title(config),
            former=former,
        )
        result = _fit(config, dataset, modules, context)
    trained = time.perf_counter()

    model = representations(backbone)
    found = measure(model, config, dataset, folder, progress=progress)
    final = final_scores(model, dataset, config.evidence, folder)
    remember(folder, dataset, final)
    seconds = {
        "prepare": prepared - started,
        "train": trained - prepared,
        "evaluate": time.perf_counter() - trained,
    }
    summary = summarise(config, dataset, result, found.valid, found.test) | found.more
    summary |= {"seconds": seconds, "command": command, "versions": versions()}
    summary |= {"data_hash": dataset_hash(dataset), **described}
    if start is not None:
        summary["started_from"] = start.summary(dataset, final)
    directions = None
    if alignment is not None and dataset.truth is not None:
        learnt = learnt_directions(config, dataset, backbone, alignment)
        directions = direction_agreement(learnt, dataset.modalities, dataset.truth)
        summary["directions"] = directions.to_dict()
    write_json(folder / METRICS_FILE, summary)
    write_report(folder)
    return Run(folder, backbone, alignment, found.valid, found.test, directions, result)


def assist(config: RunConfig, folder: str | Path, team: Team, *, resume: bool = False) -> None:
    """What the other processes of a team do while the first one calls `train`; writes nothing.

    Args:
        config: the whole configuration.
        folder: run folder.
        team: the processes that train together.
        resume: continue an interrupted run.

    Raises:
        CrossalignError: anything the user can mend, in one line.
    """
    config, dataset = _read_data(config, Path(folder), resume)
    modules = make_modules(config, dataset)
    start = warm_start(config, dataset, *modules)
    context = RunContext(
        folder,
        resume,
        run_fingerprint(config, dataset),
        team=team,
        moments=moments_of(start),
        former=former_fingerprints(Path(folder), config, dataset),
    )
    _fit(config, dataset, modules, context)


def _read_data(config: RunConfig, folder: Path, resume: Resume) -> tuple[RunConfig, Dataset]:
    """The data to train on; those of the run in `folder` if it is gone on with."""
    if not resume:
        return config, load_dataset(config.path, options=config.data)
    of_run, dataset = data_of_run(folder, config)
    if resume == "anew" and of_run != config:  # nothing is left that needs the former order
        return config, load_dataset(config.path, options=config.data)
    return of_run, dataset


def _fit(
    config: RunConfig,
    dataset: Dataset,
    modules: tuple[Backbone, Alignment | None],
    context: RunContext,
) -> FitResult:
    """Train `modules` as `config` says."""
    backbone, alignment = modules
    return fit(
        backbone,
        dataset,
        config.training,
        alignment=alignment,
        seed=config.seed,
        context=context,
    )


def load_run(folder: str | Path, data: str | None = None) -> tuple[RunConfig, Dataset, Backbone]:
    """Configuration, data set and trained backbone of a run folder.

    Args:
        folder: run folder.
        data: where the data lie now, if they were moved.

    Raises:
        RunError: the folder is not a run, or its data are not those it was trained on.
    """
    folder = require_run(Path(folder))
    config, dataset = data_of_run(folder, run_config(folder, data))
    backbone = make_backbone(config, make_graph(config, dataset), dataset)
    load_weights(folder, backbone)
    return config, dataset, backbone


def load_aligned_run(
    folder: str | Path, data: str | None = None
) -> tuple[RunConfig, Dataset, Backbone, Alignment | None]:
    """What `load_run` gives, and the trained alignment; None for a backbone alone.

    Raises:
        RunError: the folder is not a run, or its weights do not fit its data.
    """
    config, dataset, backbone = load_run(folder, data)
    alignment = make_alignment(config, dataset, backbone)
    if alignment is not None:
        load_weights(folder, backbone, alignment)
        alignment.eval()
    return config, dataset, backbone, alignment


def make_modules(config: RunConfig, dataset: Dataset) -> tuple[Backbone, Alignment | None]:
    """The configured backbone and alignment, initialised from the seed of the run."""
    _require_memory(config, dataset)
    seed_everything(config.seed)
    backbone = make_backbone(config, make_graph(config, dataset), dataset)
    return backbone, make_alignment(config, dataset, backbone)


def _require_memory(config: RunConfig, dataset: Dataset) -> None:
    """Refuse tables too large for this machine, before the system ends what fills its memory."""
    dim = config.backbone.options.get("dim", 0)
    aligned = config.alignment.options if config.alignment else {}
    for what, rows in (
        (f"backbone.dim={dim}", dataset.n_users + dataset.n_items),
        (f"alignment.n_prototypes={aligned.get('n_prototypes')}", aligned.get("n_prototypes") or 0),
    ):
        require_memory(f"training with {what}", rows * dim * BYTES_OF_WEIGHT)


def make_graph(config: RunConfig, dataset: Dataset) -> DGLGraph:
    """The heterograph with the relations that the configured backbone reads."""
    relations = BACKBONES[config.backbone.name].cls.relations
    if "user_cooccurs" in relations:
        config.graph.require_user_neighbors(config.backbone.options["n_neighbors"])
    return build_graph(dataset, config.graph, relations=relations, cache_dir=config.cache_dir)


def make_backbone(config: RunConfig, graph: DGLGraph, dataset: Dataset) -> Backbone:
    """The configured backbone, freshly initialised from the global seed."""
    require_content(config, dataset)
    cls = BACKBONES[config.backbone.name].cls
    backbone = cls(graph, dataset.features, **config.backbone.options)
    if not hasattr(backbone, "representation_dim"):
        raise TypeError(f"{cls.__name__}.__init__ must set self.representation_dim")
    return backbone


def make_alignment(config: RunConfig, dataset: Dataset, backbone: Backbone) -> Alignment | None:
    """The configured alignment in the backbone's dimension, or None."""
    if config.alignment is None:
        return None
    require_content(config, dataset)
    cls = ALIGNERS[config.alignment.name].cls
    raw = backbone.unprojected(dataset.features)
    data: dict[str, Any] = {
        "feature_dims": {name: table.shape[1] for name, table in raw.items()},
        "missing": dataset.missing,
    }
    if cls.wants_neighbors(config.alignment.options):
        data["neighbors"] = make_neighbors(config.neighbors, dataset).ids
    return cls(backbone.representation_dim, dataset.modalities, **data, **config.alignment.options)


def require_content(config: RunConfig, dataset: Dataset) -> None:
    """Raise `ConfigError` if a part of `config` needs content and `dataset` has none."""
    if dataset.features:
        return
    if BACKBONES[config.backbone.name].cls.needs_features:
        raise ConfigError(
            f"backbone '{config.backbone.name}' needs content features, but '{dataset.name}' has "
            "none: add <modality>_feat.npy files or choose another backbone"
        )
    if config.alignment is not None:
        raise ConfigError(
            f"alignment '{config.alignment.name}' needs content features, but '{dataset.name}' "
            "has none: add <modality>_feat.npy files or set alignment to none"
        )


def method_title(config: RunConfig) -> str:
    """Backbone and alignment on one short line, with the seed."""
    alignment = f" + {config.alignment.name}" if config.alignment else ""
    return f"{config.backbone.name}{alignment}, seed {config.seed}"


def reads_content(config: RunConfig) -> bool:
    """Whether content makes any difference to what `config` trains."""
    backbone = BACKBONES[config.backbone.name].cls
    alone = backbone.needs_features or "similar" in backbone.relations
    return alone or config.alignment is not None


def representations(backbone: Backbone) -> Representations:
    """Those of a trained backbone, without gradients."""
    backbone.eval()
    with torch.no_grad():
        found: Representations = backbone()
    return found


def measure(
    model: Representations,
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    *,
    progress: bool = False,
) -> Measured:
    """Metrics of a trained model with the configured evidence, see `measure_run`.

    Where nothing is held out there are none, and the evidence is that of the run refitted.
    """
    if not dataset.holds_out:
        take_evidence(config, folder)
        return Measured(NOTHING_MEASURED, NOTHING_MEASURED, {})
    return measure_run(
        model,
        dataset,
        config.evidence,
        folder,
        monitor=config.training.monitor,
        ks=config.evaluation.ks,
        progress=progress,
    )


def evaluate_split(backbone: Backbone, dataset: Dataset, split: str, config: RunConfig) -> Metrics:
    """Full-ranking metrics of a trained backbone alone on one split."""
    return evaluate(representations(backbone), dataset, split, config.evaluation.ks)


def run_scores(
    folder: str | Path, config: RunConfig, dataset: Dataset, backbone: Backbone
) -> Representations | BlockScorer:
    """The scores by which the finished run in `folder` ranks, of what `load_run` gave."""
    return final_scores(representations(backbone), dataset, config.evidence, Path(folder))


def learnt_directions(
    config: RunConfig, dataset: Dataset, backbone: Backbone, alignment: Alignment
) -> dict[str, Tensor]:
    """Which directions are active for which item after training, see `alignment_directions`.

    Scores are taken over the whole training split with the rule the alignment was trained with,
    FETTLE's one-way rule for an alignment that has none.
    """
    with torch.no_grad():
        user, item = backbone.aligned()
    device = user.device
    content = backbone.content({name: t.to(device) for name, t in dataset.features.items()})
    tables = alignment.projected(Tables(user, item, content))
    users, items = dataset.train.to(device)
    draws = torch.Generator().manual_seed(config.seed)
    return alignment_directions(
        tables,
        users,
        items,
        alignment.policy,
        missing={name: mask.to(device) for name, mask in dataset.missing.items()},
        generator=draws,
    )
