"""The report of a study: several methods side by side, mean and spread over their seeds."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import RunError
from ..fileio import write_text
from . import markup
from .markup import Html, escape
from .numbers import mean_and_spread, metric_label, number
from .plots import dot_plot
from .run_files import RunRecord, read_run

_SPREAD_READING = "Dot: mean; bar: one standard deviation either way; rings: the seeds."
_TABLE_READING = (
    "Percentages are relative to the backbone alone, or to the first row where there is no such "
    "row. The best mean of a column is bold. "
)
_SPLIT_READING = {
    "test": "The test split was read once per run, with the weights that validation chose.",
    "valid": "Choices are made on these numbers; they flatter what was chosen.",
}


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
        """Label of the method it is compared with; None for the first."""


@dataclass(frozen=True)
class Summary:
    """One metric of one method over the seeds.

    Attributes:
        values: one value per seed, in the order of the runs; NaN where a run has none.
        mean: mean of those that are numbers.
        spread: their sample standard deviation; NaN for a single seed.
    """

    values: tuple[float, ...]
    mean: float
    spread: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summarise `values`."""
        return cls(tuple(values), *mean_and_spread([v for v in values if math.isfinite(v)]))

    def __str__(self) -> str:
        spread = "" if math.isnan(self.spread) else f" ± {number(self.spread)}"
        return number(self.mean) + spread


Table = Mapping[str, Mapping[str, Summary]]
"""Method -> metric -> summary."""


def write_study_report(
    folder: str | os.PathLike[str],
    methods: Sequence[MethodRuns],
    metrics: Sequence[str],
    split: str = "test",
    *,
    title: str = "Study",
) -> Path:
    """Write `report.html` into `folder` and return its path; links lead to the runs' reports.

    Args:
        folder: study folder.
        methods: what to compare, and with which other method; by default with the first.
        metrics: metrics to compare, such as `recall@20`.
        split: `test`, or `valid` for a search.
        title: heading of the report.

    Raises:
        RunError: there is nothing to compare, a run cannot be read, or the file not written.
    """
    if not methods or not all(method.folders for method in methods):
        raise RunError("nothing to compare: give at least one method, each with a run folder")
    runs = {method.label: [read_run(Path(run)) for run in method.folders] for method in methods}
    bases = {method.label: method.base or methods[0].label for method in methods}
    path = Path(folder) / "report.html"
    write_text(path, _render(runs, bases, metrics, split, title, path.parent))
    return path


def _render(
    runs: Mapping[str, Sequence[RunRecord]],
    bases: Mapping[str, str],
    metrics: Sequence[str],
    split: str,
    title: str,
    folder: Path,
) -> Html:
    """The study as one HTML page that lies in `folder`."""
    table = {
        method: {metric: Summary.of(_values(ours, split, metric)) for metric in metrics}
        for method, ours in runs.items()
    }
    counts = sorted({len(ours) for ours in runs.values()})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    data = ", ".join(
        dict.fromkeys(run.dataset for ours in runs.values() for run in ours if run.dataset)
    )
    name = {"valid": "Validation"}.get(split, split.capitalize())
    body = markup.join(
        [
            markup.section(
                f"{name} metrics",
                _metric_table(table, bases, metrics),
                markup.note(_TABLE_READING + _SPLIT_READING.get(split, "")),
            ),
            markup.section(
                "Spread over seeds",
                markup.note(_SPREAD_READING),
                markup.grid(*(_plot(table, metric) for metric in metrics)),
            ),
            markup.section("Runs", _run_table(runs, folder)),
        ]
    )
    heading = f"{title}: {data}" if data else title
    return markup.page(heading, f"mean ± standard deviation over {seeds}", body)


def _values(runs: Sequence[RunRecord], split: str, metric: str) -> list[float]:
    return [(run.valid if split == "valid" else run.test).get(metric, math.nan) for run in runs]


def _metric_table(table: Table, bases: Mapping[str, str], metrics: Sequence[str]) -> Html:
    best = {metric: _best(table, metric) for metric in metrics}
    rows = [
        [
            escape(name),
            *(_cell(table, name, bases[name], metric, best[metric] == name) for metric in metrics),
        ]
        for name in table
    ]
    return markup.table(["method", *map(metric_label, metrics)], rows)


def _best(table: Table, metric: str) -> str | None:
    """The method with the highest mean; None where no method has a number."""
    means = {name: row[metric].mean for name, row in table.items()}
    known = [name for name, mean in means.items() if math.isfinite(mean)]
    return max(known, key=lambda name: means[name], default=None)


def _cell(table: Table, method: str, base: str, metric: str, best: bool) -> Html:
    """Mean and spread, and the relative change of the mean against the method `base`."""
    text = escape(table[method][metric])
    mean, base_mean = table[method][metric].mean, table[base][metric].mean
    gain = mean / base_mean - 1 if base_mean and method != base else math.nan
    change = f" <small>{gain:+.1%}</small>" if math.isfinite(gain) else ""
    return Html((f"<strong>{text}</strong>" if best else text) + change)


def _plot(table: Table, metric: str) -> Html:
    label = metric_label(metric)
    values = {name: row[metric].values for name, row in table.items()}
    return markup.figure(label, dot_plot(f"{label} by method", values, xlabel=label))


def _run_table(runs: Mapping[str, Sequence[RunRecord]], folder: Path) -> Html:
    """A row for every run, with a link to its report."""
    rows = [
        [
            escape(method),
            escape("–" if run.seed is None else run.seed),
            escape("–" if run.best_epoch is None else run.best_epoch),
            markup.link("report", _relative(run.folder / "report.html", folder)),
        ]
        for method, ours in runs.items()
        for run in ours
    ]
    return markup.table(["method", "seed", "best epoch", ""], rows)


def _relative(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`, so that the study folder can be moved as a whole."""
    return Path(os.path.relpath(path, folder)).as_posix()
