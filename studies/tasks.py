"""The runs of a study: which are to do, how they run, and what to say of those that failed."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..components import require_content
from ..config import RunConfig, to_plain
from ..datasets import Dataset, load_dataset
from ..errors import CrossalignError
from ..evidence.kinds import require_possible
from ..fileio import read_json, write_text
from ..graphs import dataset_hash
from ..graphs.neighbor_search import make_neighbors
from ..locks import only_writer
from ..pipeline import train
from ..progress import Bar
from ..report import write_report
from ..run_data import data_of_run
from ..run_files import CONFIG_FILE, FAILURE_FILE, METRICS_FILE, REPORT_FILE
from ..run_folder import trained_less
from ..run_identity import reads_neighbors, refuse_other_settings
from .add_evidence import add_evidence
from .processes import process_pool


@dataclass(frozen=True)
class Task:
    """One run.

    Attributes:
        config: its configuration, seed included.
        folder: its folder.
        trained: folder of the run whose model it adds evidence to; None for one that is trained.
    """

    config: RunConfig
    folder: Path
    trained: Path | None = None


def run_tasks(
    tasks: Sequence[Task], *, jobs: int, progress: bool, tensorboard: bool = False
) -> dict[Path, Exception]:
    """Run every task; folder -> error of those that failed.

    Those that add evidence to another one's model wait until all models are trained.
    """
    failures: dict[Path, Exception] = {}
    run = partial(_run_one, progress=progress and jobs == 1, tensorboard=tensorboard)
    training = [task for task in tasks if task.trained is None]
    for part in (training, [task for task in tasks if task.trained is not None]):
        if jobs == 1:
            failures |= _run_in_turn(run, part, progress=progress)
        elif part:
            failures |= _run_in_processes(run, part, jobs=jobs, progress=progress)
    for folder, failure in failures.items():
        write_text(folder / FAILURE_FILE, "".join(traceback.format_exception(failure)))
    return failures


def _run_in_turn(
    run: Callable[[Task], None], tasks: Sequence[Task], *, progress: bool
) -> dict[Path, Exception]:
    failures: dict[Path, Exception] = {}
    for task in Bar(tasks, desc="runs", disable=not progress or not tasks):
        try:
            run(task)
        except Exception as error:  # a broken run must not cost the others
            failures[task.folder] = error
    return failures


def _run_in_processes(
    run: Callable[[Task], None], tasks: Sequence[Task], *, jobs: int, progress: bool
) -> dict[Path, Exception]:
    failures: dict[Path, Exception] = {}
    with process_pool(jobs) as pool:
        futures = {pool.submit(run, task): task for task in tasks}
        for done in Bar(as_completed(futures), total=len(futures), disable=not progress):
            error = done.exception()
            if isinstance(error, Exception):
                failures[futures[done].folder] = error
            elif error is not None:
                raise error
    return failures


def _run_one(task: Task, *, progress: bool, tensorboard: bool) -> None:
    command = f"crossalign train --config {task.folder / CONFIG_FILE} --out NEW_FOLDER"
    if task.trained is not None:
        (task.folder / METRICS_FILE).unlink(missing_ok=True)  # of a model with fewer epochs
        evidence = task.config.evidence
        add_evidence(task.trained, task.folder, evidence, progress=progress, command=command)
    else:
        train(
            task.config,
            task.folder,
            resume=True,
            progress=progress,
            command=command,
            tensorboard=tensorboard,
        )
    (task.folder / FAILURE_FILE).unlink(missing_ok=True)


def refuse_unusable(tasks: Sequence[Task]) -> None:
    """Read every data set once, so that none is missing after hours, nor content that is needed.

    Raises:
        CrossalignError: a data set, a file of neighbours or the device cannot be used, or a method
            needs content that it does not have.
    """
    found: dict[str, Dataset] = {}
    for config in (task.config for task in tasks):
        if config.path not in found:
            found[config.path] = load_dataset(config.path, options=config.data)
        require_content(config, found[config.path])
        require_possible(found[config.path], config.evidence)
        config.training.torch_device()
        if config.neighbors.file is not None and reads_neighbors(config):
            make_neighbors(config.neighbors, found[config.path])


def unfinished(tasks: Sequence[Task]) -> list[Task]:
    """Tasks that are still to run; refuses finished ones of other settings or other data.

    A finished one that was killed before its report gets the report. One that had fewer epochs or
    less patience goes on.
    """
    todo = []
    hashes: dict[str, str] = {}
    for task in tasks:
        refuse_other_settings(task.folder, task.config)
        file = task.folder / METRICS_FILE
        if not file.is_file():
            todo.append(task)
            continue
        found = _data_hash(task.config, hashes)
        if read_json(file).get("data_hash", found) != found:
            data_of_run(task.folder, task.config)  # refuses other data than those of old versions
        if trained_less(task.folder, task.config):
            todo.append(task)
            continue
        if not (task.folder / REPORT_FILE).is_file():
            with only_writer(task.folder):
                write_report(task.folder)
    return todo


def _data_hash(config: RunConfig, known: dict[str, str]) -> str:
    """Hash of the data of `config`; every data set is read once."""
    key = json.dumps([config.path, to_plain(config)["data"]])
    if key not in known:
        known[key] = dataset_hash(load_dataset(config.path, options=config.data))
    return known[key]


def describe_failures(failures: Mapping[Path, Exception], folder: Path, n_runs: int) -> str:
    """One line: which runs failed, why, and what to do; equal reasons are named once."""
    runs_of: dict[str, list[str]] = {}
    for run, error in failures.items():
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, CrossalignError):
            reason = f"{type(error).__name__}: {reason}"
        runs_of.setdefault(reason, []).append(run.relative_to(folder).as_posix())
    reasons = "; ".join(f"{', '.join(runs)} ({reason})" for reason, runs in runs_of.items())
    return (
        f"{len(failures)} of {n_runs} runs failed: {reasons}; the same command repeats only "
        f"these, and {FAILURE_FILE} in their folders says more"
    )
