"""The runs of a study: which are to do, how they run, and what to say of those that failed."""

from __future__ import annotations

import json
import multiprocessing
import os
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from .config import RunConfig, to_plain
from .datasets import load_dataset
from .errors import CrossalignError, RunError
from .fileio import write_text
from .graphs import dataset_hash
from .pipeline import train
from .run_folder import METRICS_FILE, refuse_other_settings

FAILURE_FILE = "failure.txt"
"""Why a run failed, in its folder, until it succeeds."""


@dataclass(frozen=True)
class Task:
    """One run: its configuration, seed included, and its folder."""

    config: RunConfig
    folder: Path


def run_tasks(tasks: Sequence[Task], *, jobs: int, progress: bool) -> dict[Path, Exception]:
    """Run every task; folder -> error of those that failed."""
    failures: dict[Path, Exception] = {}
    if jobs == 1:
        for task in tqdm(tasks, desc="runs", disable=not progress):
            try:
                _run_one(task, threads=None, progress=progress)
            except Exception as error:  # a broken run must not cost the others
                failures[task.folder] = error
    else:
        failures = _run_in_processes(tasks, jobs=jobs, progress=progress)
    for folder, failure in failures.items():
        write_text(folder / FAILURE_FILE, "".join(traceback.format_exception(failure)))
    return failures


def _run_in_processes(tasks: Sequence[Task], *, jobs: int, progress: bool) -> dict[Path, Exception]:
    failures: dict[Path, Exception] = {}
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(_run_one, t, threads=threads, progress=False): t for t in tasks}
        try:
            for done in tqdm(as_completed(futures), total=len(futures), disable=not progress):
                error = done.exception()
                if isinstance(error, Exception):
                    failures[futures[done].folder] = error
                elif error is not None:
                    raise error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return failures


def _run_one(task: Task, *, threads: int | None, progress: bool) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    command = f"crossalign train --config {task.folder / 'config.yaml'} --out NEW_FOLDER"
    train(task.config, task.folder, resume=True, progress=progress, command=command)
    (task.folder / FAILURE_FILE).unlink(missing_ok=True)


def unfinished(tasks: Sequence[Task]) -> list[Task]:
    """Tasks that are still to run; refuses finished ones of other settings or other data."""
    todo = []
    hashes: dict[str, str] = {}
    for task in tasks:
        refuse_other_settings(task.folder, task.config)
        file = task.folder / METRICS_FILE
        if not file.is_file():
            todo.append(task)
            continue
        recorded = json.loads(file.read_text()).get("data_hash")  # older runs have none
        if recorded is not None and recorded != _data_hash(task.config, hashes):
            raise RunError(
                f"{task.folder} was trained on other data than {task.config.path} holds now: "
                "restore the data or choose another --out"
            )
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
