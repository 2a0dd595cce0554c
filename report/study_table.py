"""The table of a study: mean, spread, gain over the base and its significance on every data set.

Everything that shows a study (terminal, HTML, Markdown, LaTeX, CSV, JSON) reads this one table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..evaluation.per_user import UserMetrics, load_user_metrics
from ..evaluation.significance import Difference, average_seeds, compare_users, correct
from ..run_files import USERS_FILE
from .numbers import measure
from .run_record import RunRecord, read_run

MARKS = ((0.01, "‡"), (0.05, "†"))
"""Corrected p value below which a mark is shown, strictest first."""


class MethodRuns(Protocol):
    """A method and its finished runs."""

    @property
    def label(self) -> str:
        """Name of the method."""

    @property
    def folders(self) -> Sequence[Path]:
        """Run folders, one per seed."""

    @property
    def base(self) -> str | None:
        """Label of the method it is compared with, on the same data; None for no comparison."""

    @property
    def data(self) -> str:
        """Name of the data set in a study of several."""

    @property
    def reference(self) -> bool:
        """Whether it is a reference line and not a trained method."""


@dataclass(frozen=True)
class Cell:
    """One metric of one method over the seeds.

    Attributes:
        values: one value per seed, in the order of the runs; NaN where a run has none.
        mean: mean of those that are numbers.
        spread: their sample standard deviation; NaN for a single seed.
        gain: relative change of the mean against the base; NaN without a base.
        difference: from the base, user by user, p values corrected over the whole table; None
            where there is no base or not every run kept the metrics of single users.
        best: whether no method on the same data has a higher mean.
    """

    values: tuple[float, ...]
    mean: float
    spread: float
    gain: float = math.nan
    difference: Difference | None = None
    best: bool = False

    @property
    def mark(self) -> str:
        """One of `MARKS` where the difference from the base is significant, else nothing."""
        p_value = self.difference.p_value if self.difference else 1.0
        return next((mark for limit, mark in MARKS if p_value < limit), "")


@dataclass(frozen=True)
class Row:
    """One method on one data set.

    Attributes:
        label: its name.
        base: label of the method it is compared with, if that has a row too.
        reference: whether it is a reference line.
        runs: its runs.
        cells: metric -> cell.
    """

    label: str
    base: str | None
    reference: bool
    runs: tuple[RunRecord, ...]
    cells: Mapping[str, Cell]

    @property
    def method(self) -> str:
        """The label if it names the method, as `backbone+alignment` does; else what was run."""
        run = self.runs[0]
        return self.label if self.label.startswith(run.backbone) else run.method


@dataclass(frozen=True)
class Block:
    """All methods on one data set.

    Attributes:
        name: the data set, as the runs call it.
        rows: the methods.
    """

    name: str
    rows: tuple[Row, ...]

    def average_gains(self) -> dict[str, dict[str, float]]:
        """Alignment -> metric -> mean gain over its backbones; those with one backbone left out."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.base is not None and row.label.startswith(f"{row.base}+"):
                groups.setdefault(row.label.removeprefix(f"{row.base}+"), []).append(row)
        return {
            name: {
                metric: measure([row.cells[metric].gain for row in rows]).mean
                for metric in rows[0].cells
            }
            for name, rows in groups.items()
            if len(rows) > 1
        }


@dataclass(frozen=True)
class StudyTable:
    """The whole table.

    Attributes:
        metrics: names of the columns.
        split: `test` or `valid`.
        blocks: one per data set.
        without_users: labels of methods whose runs did not keep the metrics of single users.
    """

    metrics: tuple[str, ...]
    split: str
    blocks: tuple[Block, ...]
    without_users: tuple[str, ...] = ()

    def cells(self) -> Iterator[tuple[Block, Row, str, Cell]]:
        """Every cell, with where it stands."""
        for block in self.blocks:
            for row in block.rows:
                for metric, cell in row.cells.items():
                    yield block, row, metric, cell

    @property
    def differences(self) -> list[Difference]:
        """All differences that were tested."""
        return [cell.difference for *_, cell in self.cells() if cell.difference]


def study_table(
    methods: Sequence[MethodRuns], metrics: Sequence[str], split: str = "test"
) -> StudyTable:
    """The table of finished runs, read from their folders.

    Args:
        methods: what to compare, and with which other method.
        metrics: such as `recall@20`.
        split: `test`, or `valid` for a search; only test metrics are tested for significance.

    Raises:
        RunError: a run cannot be read, or a method and its base have different test users.
    """
    metrics = tuple(dict.fromkeys(metrics))
    groups: dict[str, dict[str, MethodRuns]] = {}
    for method in methods:
        groups.setdefault(method.data, {})[method.label] = method
    found: dict[tuple[str, ...], Difference] = {}
    without: list[str] = []
    if split == "test":
        for data, group in groups.items():
            differences, lacking = _differences(group, metrics)
            found |= {(data, *key): difference for key, difference in differences.items()}
            without += lacking
    corrected = correct(found)
    blocks = [_block(data, group, metrics, split, corrected) for data, group in groups.items()]
    return StudyTable(metrics, split, tuple(blocks), tuple(dict.fromkeys(without)))


def _differences(
    group: Mapping[str, MethodRuns], metrics: Sequence[str]
) -> tuple[dict[tuple[str, str], Difference], list[str]]:
    """`(label, metric)` -> difference from the base; and labels that have no user file."""
    pairs = [(m.label, m.base) for m in group.values() if m.base in group]
    needed = dict.fromkeys(label for pair in pairs for label in pair if label is not None)
    users = {label: _users(group[label]) for label in needed}
    found: dict[tuple[str, str], Difference] = {}
    for label, base in pairs:
        ours, theirs = users[label], users[base or ""]
        if ours is not None and theirs is not None:
            compared = compare_users(ours, theirs, metrics)
            found |= {(label, metric): difference for metric, difference in compared.items()}
    return found, [label for label, values in users.items() if values is None]


def _users(method: MethodRuns) -> UserMetrics | None:
    """Metrics of single users, averaged over the seeds; None if a run did not keep them."""
    files = [Path(folder) / USERS_FILE for folder in method.folders]
    if not all(file.is_file() for file in files):
        return None
    return average_seeds([load_user_metrics(file) for file in files])


def _block(
    data: str,
    group: Mapping[str, MethodRuns],
    metrics: Sequence[str],
    split: str,
    differences: Mapping[tuple[str, ...], Difference],
) -> Block:
    runs = {label: tuple(read_run(Path(f)) for f in m.folders) for label, m in group.items()}
    values = {
        label: {metric: _values(ours, split, metric) for metric in metrics}
        for label, ours in runs.items()
    }
    best = {metric: _best(row[metric] for row in values.values()) for metric in metrics}

    def cell(label: str, metric: str) -> Cell:
        base = group[label].base
        mean, spread = _summary(values[label][metric])
        alone = _summary(values[base][metric])[0] if base in values else math.nan
        gain = mean / alone - 1 if alone else math.nan
        difference = differences.get((data, label, metric))
        return Cell(values[label][metric], mean, spread, gain, difference, mean == best[metric])

    rows = [
        Row(
            label,
            method.base if method.base in group else None,
            method.reference,
            runs[label],
            {metric: cell(label, metric) for metric in metrics},
        )
        for label, method in group.items()
    ]
    named = (run.dataset for ours in runs.values() for run in ours if run.dataset)
    return Block(data or next(named, ""), tuple(rows))


def _values(runs: Sequence[RunRecord], split: str, metric: str) -> tuple[float, ...]:
    return tuple(
        (run.valid if split == "valid" else run.test).get(metric, math.nan) for run in runs
    )


def _summary(values: Sequence[float]) -> tuple[float, float]:
    """Mean and spread of the values that are numbers."""
    return measure([value for value in values if math.isfinite(value)]).point


def _best(rows: Iterable[Sequence[float]]) -> float:
    """The highest mean; NaN where no method has a number."""
    means = (_summary(values)[0] for values in rows)
    return max((mean for mean in means if math.isfinite(mean)), default=math.nan)
