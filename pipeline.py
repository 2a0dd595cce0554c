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
from typing import Literal

from .align import Alignment
from .components import (
    make_alignment,
    make_backbone,
    make_graph,
    make_modules,
    method_title,
)
from .config import RunConfig
from .datasets import Dataset, load_dataset
from .evaluation import (
    DirectionAgreement,
    Metrics,
    direction_agreement,
)
from .evidence.kinds import require_possible
from .evidence.of_run import final_scores
from .fileio import write_json
from .graphs import dataset_hash
from .locks import only_writer
from .models import Backbone
from .own_code import remember_code, tell_changed_code
from .own_parts import bring_in
from .renewal import moments_of, remember, seen_by, warm_start
from .renewal.refit import described_by, refuse_unvalidated
from .report import write_report
from .report.opening import opening_lines
from .run_data import data_of_run
from .run_files import METRICS_FILE, TENSORBOARD_FOLDER
from .run_folder import (
    refuse_taken_folder,
    remember_command,
    require_run,
    run_config,
    save_config,
    set_aside,
    summarise,
    versions,
)
from .run_identity import former_fingerprints, run_fingerprint
from .run_measures import learnt_directions, measure, representations
from .training import ALONE, FitResult, RunContext, Team, fit, load_weights
from .training.checkpoint_file import require_resumable
from .training.tensorboard import tensorboard_log

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
    elif resume:
        require_resumable(folder, (fingerprint, *former))
    command = remember_command(folder, command, config, resume=bool(resume))
    tell_changed_code(folder, config.imports)
    remember_code(folder, config.imports)
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
            seen=seen_by(start),
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
    if alignment is not None and alignment.reads_content and dataset.truth is not None:
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
        seen=seen_by(start),
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
    tell_changed_code(folder, config.imports)
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
