"""What a run left in its folder, read for the report."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..run_files import CONFIG_FILE, EVIDENCE_FILE, HISTORY_FILE, METRICS_FILE, TIMINGS_FILE

OLD_TERMS = {
    "reg": ("cna", "cna_reg"),
    "user_item": ("modalities", "cla_user_item"),
    "modalities": ("user_item", "cla_modalities"),
}
"""Term of an alignment in older runs -> what stood beside it there, and its name today."""


@dataclass(frozen=True)
class Epoch:
    """One row of `history.jsonl`, its keys split by their prefix.

    Attributes:
        number: number of the epoch, as written.
        losses: loss term -> mean over the steps, from `loss/<term>`; terms that older runs called
            otherwise have the names of today.
        valid: metric -> value on the validation split, from `valid/<metric>`; empty where the
            epoch was not evaluated.
        diagnostics: what alignment did, such as `direction/<a>_to_<b>`, from `diagnostics/<name>`.
    """

    number: int
    losses: Mapping[str, float] = field(default_factory=dict)
    valid: Mapping[str, float] = field(default_factory=dict)
    diagnostics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """A run as its files tell it; what an older run did not write is empty or None.

    Attributes:
        folder: the run folder.
        backbone: name of the backbone.
        alignment: name of the alignment, or None for a run without one.
        dataset: name of the data set.
        seed: seed of the run.
        monitor: validation metric that chose the best epoch.
        best_epoch: epoch whose weights were kept.
        epochs: number of epochs trained.
        valid: metric -> value on the validation split, such as `recall@20`.
        test: metric -> value on the test split.
        measured_on: the run that these metrics are of, if this one repeats it on all rows.
        held_out: whether rows were held out.
        seconds: phase -> seconds.
        versions: package -> version.
        command: the command that repeats the run.
        facts: size of the data set.
        config: text of `config.yaml`.
        history: rows of `history.jsonl`.
        per_epoch: phase -> seconds of the median epoch, from `timings.jsonl`.
        evidence: kind, weight and candidates of what is added to the model's scores.
        alone: split -> metrics of the model without evidence.
        tried: kind of evidence -> weights, and the validation metric of each, from
            `evidence.json`; weight 0 is the model alone.
    """

    folder: Path
    backbone: str = "run"
    alignment: str | None = None
    dataset: str | None = None
    seed: int | None = None
    monitor: str = "recall@20"
    best_epoch: int | None = None
    epochs: int | None = None
    valid: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    measured_on: str | None = None
    held_out: bool = True
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    history: tuple[Epoch, ...] = ()
    per_epoch: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    alone: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tried: Mapping[str, tuple[list[float], list[float]]] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Backbone, alignment and evidence, such as `lightgcn + cross + evidence`."""
        parts = [self.backbone, self.alignment, "evidence" if self.evidence else None]
        return " + ".join(part for part in parts if part)

    @property
    def unconverged(self) -> bool:
        """Whether the best epoch is the last one that was evaluated: more might have been better.

        False where the run does not say, as of a reference line.
        """
        evaluated = [epoch.number for epoch in self.history if epoch.valid]
        last = max(evaluated, default=self.epochs)
        return last is not None and self.best_epoch is not None and self.best_epoch >= last


def read_run(folder: Path) -> RunRecord:
    """Read a run folder. Files and keys that are not there are left out.

    Raises:
        RunError: the folder is not there or holds no metrics, or a file is not valid JSON.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        raise RunError(f"no {METRICS_FILE} in {folder}: train there first, or give a run folder")
    metrics = _parse(_text(path), str(path))
    return RunRecord(
        folder=folder,
        backbone=str(metrics.get("backbone") or "run"),
        alignment=_name(metrics.get("alignment")),
        dataset=_name(metrics.get("dataset")),
        seed=_whole(metrics.get("seed")),
        monitor=str(metrics.get("monitor") or "recall@20"),
        best_epoch=_whole(metrics.get("best_epoch")),
        epochs=_whole(metrics.get("epochs")),
        valid=_numbers(metrics.get("valid")),
        test=_numbers(metrics.get("test")),
        measured_on=_name(_mapping(metrics.get("measured_on")).get("run")),
        held_out=_mapping(metrics.get("dataset_facts")).get("test") != 0,
        seconds=_numbers(metrics.get("seconds")),
        versions={key: str(value) for key, value in _mapping(metrics.get("versions")).items()},
        command=str(metrics.get("command") or ""),
        facts=_mapping(metrics.get("dataset_facts")),
        config=_text(folder / CONFIG_FILE),
        history=tuple(_epochs(_rows(folder / HISTORY_FILE))),
        per_epoch=_medians(_rows(folder / TIMINGS_FILE)),
        evidence=_mapping(metrics.get("evidence")),
        alone={k: _numbers(v) for k, v in _mapping(metrics.get("without_evidence")).items()},
        tried=_tried(folder / EVIDENCE_FILE),
    )


def _text(path: Path) -> str:
    """Contents of a file, or nothing if there is none."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError:
        raise RunError(f"{path} is not UTF-8 text: train anew or restore it") from None


def _rows(path: Path) -> list[dict[str, Any]]:
    """The objects in a JSONL file, in order; none if there is no file."""
    return [
        _parse(line, f"{path}, line {number}")
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if line.strip()
    ]


def _epochs(rows: Iterable[Mapping[str, Any]]) -> Iterator[Epoch]:
    """History rows with their keys sorted by prefix; rows without a number are counted from 1."""
    for count, row in enumerate(rows, start=1):
        number = _whole(row.get("epoch"))
        yield Epoch(
            number=count if number is None else number,
            losses=_renamed(_under("loss/", row)),
            valid=_under("valid/", row),
            diagnostics=_under("diagnostics/", row),
        )


def _tried(file: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Kind of evidence -> weights and values; the model alone stands at the head of each."""
    points = _parse(_text(file), str(file)).get("tried", []) if file.is_file() else []
    alone = [point["value"] for point in points if point["weight"] == 0][:1]
    found: dict[str, tuple[list[float], list[float]]] = {}
    for point in points:
        if point["weight"]:
            start = ([0.0], list(alone)) if alone else ([], [])
            weights, values = found.setdefault(point["kind"], start)
            weights.append(point["weight"])
            values.append(point["value"])
    return found


def _renamed(losses: Mapping[str, float]) -> dict[str, float]:
    """The same with the terms of alignments under the names of today.

    A term is known by what stands beside it: another alignment may have a `reg` of its own.
    """
    found = {}
    for term, value in losses.items():
        within, _, last = term.rpartition("/")
        beside, today = OLD_TERMS.get(last, ("", ""))
        is_old = within.partition("/")[0] == "align" and f"{within}/{beside}" in losses
        found[f"{within}/{today}" if is_old else term] = value
    return found


def _medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Key -> median over the rows, the epoch numbers left out."""
    numbers = [_numbers(dict(row)) for row in rows]
    keys = dict.fromkeys(key for row in numbers for key in row if key != "epoch")
    return {key: statistics.median(row[key] for row in numbers if key in row) for key in keys}


def _under(prefix: str, row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of `row` whose keys start with `prefix`, which is taken off."""
    entries = _numbers(dict(row)).items()
    return {key.removeprefix(prefix): value for key, value in entries if key.startswith(prefix)}


def _parse(text: str, where: str) -> dict[str, Any]:
    """A JSON object from `text`."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise RunError(f"{where} is not valid JSON ({error}): train anew or restore it") from None
    if not isinstance(value, dict):
        raise RunError(f"{where} does not hold a JSON object: train anew or restore it")
    return value


def _mapping(value: object) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _numbers(value: object) -> dict[str, float]:
    """The numeric entries of a mapping; null, which stands for no number, becomes NaN."""
    entries = _mapping(value).items()
    return {
        key: math.nan if item is None else float(item)
        for key, item in entries
        if item is None or (isinstance(item, (int, float)) and not isinstance(item, bool))
    }


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _name(value: object) -> str | None:
    """A name, or None for nothing; runs without alignment may call it `none`."""
    return None if value is None or str(value).lower() in ("", "none") else str(value)
