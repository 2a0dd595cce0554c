"""Several runs side by side: methods times seeds, resumable, over several processes.

A method is a configuration with a label. Every run has its own folder, so a finished run is
never repeated and a killed study continues where it was; a failing run does not stop the others.
Choices are made on validation only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, RunError
from ..evidence.options import NONE
from ..fileio import require_writable, write_text
from ..locks import only_writer
from ..report.study_files import STUDY_FILE, StudyFiles, claim_files
from ..run_folder import finished_metrics, refuse_run_folder
from .methods import Method, without_evidence
from .tasks import Task, describe_failures, refuse_unusable, run_tasks, unfinished


@dataclass(frozen=True)
class MethodResult:
    """Metrics of one method over the seeds of a study.

    Attributes:
        label: name of the method.
        folders: run folders, one per finished seed.
        valid: metric name -> one value per seed.
        test: metric name -> one value per seed.
        base: label of the method it is compared with, on the same data; None for no comparison.
        data: name of the data set in a study of several.
        reference: whether it is a reference line and not a trained method.
    """

    label: str
    folders: tuple[Path, ...]
    valid: Mapping[str, tuple[float, ...]]
    test: Mapping[str, tuple[float, ...]]
    base: str | None = None
    data: str = ""
    reference: bool = False


class StudyError(RunError):
    """Some runs of a study failed.

    Attributes:
        results: of the methods of which at least one run is finished.
    """

    def __init__(self, message: str, results: list[MethodResult]) -> None:
        super().__init__(message)
        self.results = results


def run_study(
    methods: Sequence[Method],
    seeds: Sequence[int],
    folder: str | Path,
    *,
    jobs: int = 1,
    progress: bool = True,
    tensorboard: bool = False,
    kind: str = "study",
) -> list[MethodResult]:
    """Train every method with every seed and collect the results in `folder`.

    Args:
        methods: what to compare; labels are unique.
        seeds: seeds, the same for every method.
        folder: study folder; each run lies in `<folder>/<data>/<label>/seed<k>`.
        jobs: processes at a time; the machine's threads are shared among them.
        progress: show a progress bar.
        tensorboard: also write the history of every run for TensorBoard, into its folder.
        kind: what is studied; another kind in the same folder has files of its own.

    Raises:
        ConfigError: no methods, no seeds, a label or a seed twice, or no content where it is
            needed.
        RunError: a finished run in the folder has other settings or other data, or the folder
            cannot be written.
        DataError: a data set cannot be read.
        StudyError: runs failed; all others are finished and the error holds their results. The
            next call repeats only those that failed.
    """
    if not methods or not seeds:
        raise ConfigError("nothing to run: give at least one method and one seed")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds {', '.join(map(str, seeds))}: give each once")
    names = [str(Path(method.data) / method.label) for method in methods]
    if len(set(names)) < len(names):
        raise ConfigError(f"the same method twice among {names}: give each once")
    folder = Path(folder)
    refuse_run_folder(folder)
    with only_writer(folder):
        return _run(
            methods,
            seeds,
            folder,
            jobs=jobs,
            progress=progress,
            tensorboard=tensorboard,
            kind=kind,
        )


def _run(
    methods: Sequence[Method],
    seeds: Sequence[int],
    folder: Path,
    *,
    jobs: int,
    progress: bool,
    tensorboard: bool,
    kind: str,
) -> list[MethodResult]:
    """`run_study`, by the only process that writes into the folder."""
    names = [str(Path(method.data) / method.label) for method in methods]
    tasks = {
        name: [_task(folder, name, m, seed, names, methods) for seed in seeds]
        for name, m in zip(names, methods, strict=True)
    }
    todo = unfinished([task for ours in tasks.values() for task in ours])
    refuse_unusable(todo)
    require_writable(folder)
    files = study_files(folder, kind, methods, seeds)
    failures = run_tasks(todo, jobs=jobs, progress=progress, tensorboard=tensorboard)
    results = []
    for name, method in zip(names, methods, strict=True):
        done = [task.folder for task in tasks[name] if task.folder not in failures]
        if done:
            results.append(read_result(method.label, done, base=method.base, data=method.data))
    save_results(files, results)
    if failures:
        raise StudyError(describe_failures(failures, folder, len(names) * len(seeds)), results)
    return results


def _task(
    folder: Path,
    name: str,
    method: Method,
    seed: int,
    names: Sequence[str],
    methods: Sequence[Method],
) -> Task:
    """The run of a method; one with evidence takes the weights of the same without it."""
    trained = None
    if method.config.evidence.kind != NONE:
        plain = without_evidence(method.config)
        same = [n for n, m in zip(names, methods, strict=True) if m.config == plain]
        trained = folder / same[0] / f"seed{seed}" if same else None
    return Task(replace(method.config, seed=seed), folder / name / f"seed{seed}", trained)


def study_files(
    folder: str | Path, kind: str, methods: Sequence[Method], seeds: Sequence[int]
) -> StudyFiles:
    """The files of a study in its folder, which no other study of that folder writes."""
    return claim_files(folder, kind, [str(Path(m.data) / m.label) for m in methods], seeds)


def save_results(files: StudyFiles, results: Sequence[MethodResult]) -> None:
    """Write them into a study folder."""
    plain = [_plain(result) for result in results]
    write_text(files.path(STUDY_FILE), json.dumps(plain, indent=2) + "\n")


def read_result(
    label: str,
    folders: Sequence[Path],
    *,
    base: str | None = None,
    data: str = "",
    reference: bool = False,
) -> MethodResult:
    """The result of a method from its run folders; the other arguments are `MethodResult`'s."""
    summaries = [finished_metrics(folder) for folder in folders]

    def values(split: str) -> dict[str, tuple[float, ...]]:
        return {key: tuple(s[split][key] for s in summaries) for key in summaries[0][split]}

    return MethodResult(
        label, tuple(folders), values("valid"), values("test"), base, data, reference
    )


def _plain(result: MethodResult) -> dict[str, Any]:
    return {
        "label": result.label,
        "data": result.data,
        "reference": result.reference,
        "base": result.base,
        "folders": [str(folder) for folder in result.folders],
        "valid": dict(result.valid),
        "test": dict(result.test),
    }
