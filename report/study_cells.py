"""What the table of a study is made of: cells, rows, and a block for each data set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..evaluation.significance import Difference
from .numbers import measure
from .run_record import RunRecord

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


def mark(difference: Difference | None) -> str:
    """One of `MARKS` for a significant difference, else nothing."""
    p_value = difference.p_value if difference else 1.0
    return next((mark for limit, mark in MARKS if p_value < limit), "")


@dataclass(frozen=True)
class Against:
    """One metric of a method, compared with a method that is not its base.

    Attributes:
        gain: relative change of the mean.
        difference: user by user, as in `Cell`.
    """

    gain: float
    difference: Difference | None

    @property
    def mark(self) -> str:
        """One of `MARKS` where the difference is significant, else nothing."""
        return mark(self.difference)


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
        against: the same against the method that all are compared with, if that was asked for.
    """

    values: tuple[float, ...]
    mean: float
    spread: float
    gain: float = math.nan
    difference: Difference | None = None
    best: bool = False
    against: Against | None = None

    @property
    def mark(self) -> str:
        """One of `MARKS` where the difference from the base is significant, else nothing."""
        return mark(self.difference)


@dataclass(frozen=True)
class Row:
    """One method on one data set.

    Attributes:
        label: its name.
        base: label of the method it is compared with, if that has a row too.
        reference: whether it is a reference line.
        runs: its runs.
        cells: metric -> cell.
        valid: metric -> the same on validation, beside a table of the test split; else empty.
    """

    label: str
    base: str | None
    reference: bool
    runs: tuple[RunRecord, ...]
    cells: Mapping[str, Cell]
    valid: Mapping[str, Cell] = field(default_factory=dict)

    @property
    def unconverged(self) -> tuple[RunRecord, ...]:
        """Runs whose best epoch is the last one."""
        return tuple(run for run in self.runs if run.unconverged)

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
        monitor: the metric by which validation chooses among them; empty where none is shown.
    """

    name: str
    rows: tuple[Row, ...]
    monitor: str = ""

    @property
    def chosen(self) -> Row | None:
        """The method that validation chooses; None where validation is not shown."""
        return next((row for row in self.rows if self.valid(row).best), None)

    def valid(self, row: Row) -> Cell:
        """The validation metric that chooses, of one row; without a number where there is none."""
        return row.valid.get(self.monitor, Cell((), math.nan, math.nan))

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
        against: label of the method that all are compared with, beside their bases; or nothing.
    """

    metrics: tuple[str, ...]
    split: str
    blocks: tuple[Block, ...]
    without_users: tuple[str, ...] = ()
    against: str = ""

    def cells(self) -> Iterator[tuple[Block, Row, str, Cell]]:
        """Every cell, with where it stands."""
        for block in self.blocks:
            for row in block.rows:
                for metric, cell in row.cells.items():
                    yield block, row, metric, cell

    @property
    def differences(self) -> list[Difference]:
        """All differences that were tested."""
        tested = [(c.difference, c.against and c.against.difference) for *_, c in self.cells()]
        return [difference for pair in tested for difference in pair if difference]
