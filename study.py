"""Several runs side by side: methods times seeds, resumable, over several processes.

A method is a configuration with a label. Every run has its own folder, so a finished run is
never repeated and a killed study continues where it was. Choices are made on validation only.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .config import RunConfig, parse_config, to_plain
from .errors import ConfigError
from .fileio import write_text
from .pipeline import train
from .run_folder import METRICS_FILE, refuse_other_settings


@dataclass(frozen=True)
class Method:
    """A labelled configuration; its seed is replaced by each of the study's seeds.

    Attributes:
        label: unique name.
        config: what to train.
        base: label of the method it is compared with; None for the first of the study.
    """

    label: str
    config: RunConfig
    base: str | None = None


@dataclass(frozen=True)
class MethodResult:
    """Metrics of one method over the seeds of a study.

    Attributes:
        label: name of the method.
        folders: run folders, one per seed.
        valid: metric name -> one value per seed.
        test: metric name -> one value per seed.
        base: label of the method it is compared with; None for the first of the study.
    """

    label: str
    folders: tuple[Path, ...]
    valid: Mapping[str, tuple[float, ...]]
    test: Mapping[str, tuple[float, ...]]
    base: str | None = None

    def mean_sd(self, split: str, metric: str) -> tuple[float, float]:
        """Mean and sample standard deviation (nan for one seed) over the seeds."""
        values = np.array((self.valid if split == "valid" else self.test)[metric])
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def run_study(
    methods: Sequence[Method],
    seeds: Sequence[int],
    folder: str | Path,
    *,
    jobs: int = 1,
    progress: bool = True,
) -> list[MethodResult]:
    """Train every method with every seed and collect the results in `folder`.

    Args:
        methods: what to compare; labels are unique.
        seeds: seeds, the same for every method.
        folder: study folder; each run lies in `<folder>/<label>/seed<k>`.
        jobs: processes at a time; the machine's threads are shared among them.
        progress: show a progress bar.

    Raises:
        ConfigError: no methods, no seeds, or a label twice.
        CrossalignError: what the first failing run raised; finished runs stay.
    """
    labels = [method.label for method in methods]
    if not methods or not seeds:
        raise ConfigError("nothing to run: give at least one method and one seed")
    if len(set(labels)) < len(labels):
        raise ConfigError(f"two methods share a label among {labels}: rename one")
    folder = Path(folder)
    tasks = [(m.config, seed, folder / m.label / f"seed{seed}") for m in methods for seed in seeds]
    todo = [task for task in tasks if not _finished(*task)]
    _run_all(todo, jobs=jobs, progress=progress)
    results = [_collect(m, [folder / m.label / f"seed{s}" for s in seeds]) for m in methods]
    write_text(folder / "study.json", json.dumps([_plain(r) for r in results], indent=2) + "\n")
    return results


def grid_methods(base: RunConfig, grid: Mapping[str, Sequence[Any]]) -> list[Method]:
    """One method per point of a grid over configuration keys.

    Args:
        base: configuration that the grid varies.
        grid: dotted key -> values, e.g. `{"alignment.ila_weight": [1e-3, 1e-2]}`.
    """
    methods = []
    for point in itertools.product(*grid.values()):
        plain = to_plain(base)
        for key, value in zip(grid, point, strict=True):
            *parents, last = key.split(".")
            place = plain
            for parent in parents:
                place = place[parent]
            place[last] = value
        label = ",".join(f"{k.split('.')[-1]}={v}" for k, v in zip(grid, point, strict=True))
        methods.append(Method(label or "base", parse_config(plain)))
    return methods


def compared_methods(configs: Sequence[RunConfig]) -> list[Method]:
    """Methods to compare, each aligned one with its backbone alone where that takes part."""
    labels = [method_label(config) for config in configs]
    bases = [config.backbone.name if config.alignment else None for config in configs]
    return [
        Method(label, config, base if base in labels else None)
        for label, config, base in zip(labels, configs, bases, strict=True)
    ]


def method_label(config: RunConfig) -> str:
    """`backbone` or `backbone+alignment`."""
    alignment = f"+{config.alignment.name}" if config.alignment else ""
    return config.backbone.name + alignment


def format_table(
    results: Sequence[MethodResult], metrics: Sequence[str], split: str = "test"
) -> list[str]:
    """Lines of a Markdown table, mean ± standard deviation over seeds.

    Methods with a base also show the relative change of the mean against it.
    """
    by_label = {result.label: result for result in results}
    head = ["method", *metrics]
    rows = [head, ["---"] * len(head)]
    for result in results:
        cells = [result.label]
        for metric in metrics:
            mean, sd = result.mean_sd(split, metric)
            cell = f"{mean:.4f}" + ("" if np.isnan(sd) else f" ± {sd:.4f}")
            base = by_label[result.base].mean_sd(split, metric)[0] if result.base else 0.0
            cells.append(cell + (f" {mean / base - 1:+.1%}" if base else ""))
        rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]


def _run_all(tasks: list[tuple[RunConfig, int, Path]], *, jobs: int, progress: bool) -> None:
    if jobs == 1:
        for task in tqdm(tasks, desc="runs", disable=not progress):
            _run_one(*task, threads=None, progress=progress)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_run_one, *task, threads=threads, progress=False) for task in tasks]
        try:
            for future in tqdm(as_completed(futures), total=len(tasks), disable=not progress):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _finished(config: RunConfig, seed: int, folder: Path) -> bool:
    """Whether the run in `folder` is complete; refuses one made with other settings."""
    refuse_other_settings(folder, replace(config, seed=seed))
    return (folder / METRICS_FILE).is_file()


def _run_one(
    config: RunConfig, seed: int, folder: Path, *, threads: int | None, progress: bool
) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    command = f"crossalign train --config {folder / 'config.yaml'} --out NEW_FOLDER"
    train(replace(config, seed=seed), folder, resume=True, progress=progress, command=command)


def _collect(method: Method, folders: Sequence[Path]) -> MethodResult:
    summaries = [json.loads((folder / METRICS_FILE).read_text()) for folder in folders]

    def values(split: str) -> dict[str, tuple[float, ...]]:
        return {key: tuple(s[split][key] for s in summaries) for key in summaries[0][split]}

    return MethodResult(method.label, tuple(folders), values("valid"), values("test"), method.base)


def _plain(result: MethodResult) -> dict[str, Any]:
    return {
        "label": result.label,
        "base": result.base,
        "folders": [str(folder) for folder in result.folders],
        "valid": dict(result.valid),
        "test": dict(result.test),
    }
