"""Several methods side by side: mean and standard deviation over the seeds of each."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RunError
from ..fileio import write_text
from . import markup
from .markup import Html, escape
from .numbers import mean_and_spread, metric_label, number
from .plots import dot_plot
from .run_files import RunRecord, read_run

DEFAULT_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


@dataclass(frozen=True)
class Method:
    """A method and the run folders that belong to it, one per seed."""

    name: str
    runs: tuple[Path, ...]


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation of one test metric of one method.

    Attributes:
        values: one value per seed, in the order of the runs.
        mean: their mean.
        spread: their sample standard deviation; NaN for a single seed.
    """

    values: tuple[float, ...]
    mean: float
    spread: float

    def __str__(self) -> str:
        if math.isnan(self.spread):
            return number(self.mean)
        return f"{number(self.mean)} ± {number(self.spread)}"


@dataclass(frozen=True)
class Comparison:
    """Test metrics of several methods; the first one is what the others are compared with.

    Attributes:
        title: what is compared, and on which data.
        metrics: names of the metrics, such as `recall@20`.
        methods: method -> its runs.
        table: method -> metric -> summary over the seeds.
    """

    title: str
    metrics: tuple[str, ...]
    methods: Mapping[str, tuple[RunRecord, ...]]
    table: Mapping[str, Mapping[str, Summary]]

    def gain(self, method: str, metric: str) -> float:
        """Relative change of the mean against the first method; NaN where it has no meaning."""
        base = next(iter(self.table.values()))[metric].mean
        return self.table[method][metric].mean / base - 1 if base else math.nan

    def best(self, metric: str) -> str:
        """The method with the highest mean; one without a number never wins."""
        means = {name: row[metric].mean for name, row in self.table.items()}
        return max(means, key=lambda name: (math.isfinite(means[name]), means[name]))

    def lines(self) -> list[str]:
        """The table as text for a terminal."""
        header = ["method", "seeds", *map(metric_label, self.metrics)]
        rows = [
            [name, str(len(self.methods[name])), *(str(row[metric]) for metric in self.metrics)]
            for name, row in self.table.items()
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, *rows]
        ]

    def to_dict(self) -> dict[str, object]:
        """Everything but the runs' own records, ready for JSON; NaN becomes None."""
        return {
            "title": self.title,
            "metrics": list(self.metrics),
            "methods": [
                {
                    "method": name,
                    "runs": [str(run.folder) for run in self.methods[name]],
                    "seeds": [run.seed for run in self.methods[name]],
                    "test": {metric: _summary(row[metric]) for metric in self.metrics},
                }
                for name, row in self.table.items()
            ],
        }


def compare(
    methods: Sequence[Method],
    *,
    title: str = "Comparison",
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> Comparison:
    """Read the runs of `methods` and summarise their test metrics over the seeds.

    Raises:
        RunError: there is nothing to compare, or a run folder cannot be read.
    """
    if not methods or not all(method.runs for method in methods):
        raise RunError("nothing to compare: give at least one method, each with a run folder")
    records = {method.name: tuple(read_run(run) for run in method.runs) for method in methods}
    table = {
        name: {
            metric: _summarise([run.test.get(metric, math.nan) for run in runs])
            for metric in metrics
        }
        for name, runs in records.items()
    }
    return Comparison(title, tuple(metrics), records, table)


def write_comparison(
    folder: str | os.PathLike[str],
    methods: Sequence[Method],
    *,
    title: str = "Comparison",
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> Comparison:
    """Write `report.html` and `comparison.json` into `folder`; links lead to the runs' reports.

    Args:
        folder: where to write.
        methods: what to compare; the first one is the base of the relative changes.
        title: heading of the report.
        metrics: test metrics to compare.

    Raises:
        RunError: there is nothing to compare, a run cannot be read, or a file cannot be written.
    """
    target = Path(folder)
    comparison = compare(methods, title=title, metrics=metrics)
    write_text(target / "comparison.json", json.dumps(comparison.to_dict(), indent=2) + "\n")
    write_text(target / "report.html", render(comparison, target))
    return comparison


def render(comparison: Comparison, folder: Path) -> Html:
    """The comparison as one HTML page that lies in `folder`."""
    n_seeds = sorted({len(runs) for runs in comparison.methods.values()})
    over = " or ".join(map(str, n_seeds)) + (" seeds" if n_seeds != [1] else " seed")
    body = markup.join(
        [
            markup.section("Test metrics", _table(comparison), markup.note(_READING)),
            markup.section(
                "Spread over seeds",
                markup.note("Dot: mean; bar: one standard deviation either way; rings: the seeds."),
                markup.grid(*_plots(comparison)),
            ),
            markup.section("Runs", _runs(comparison, folder)),
        ]
    )
    return markup.page(comparison.title, f"mean ± standard deviation over {over}", body)


_READING = (
    "Percentages are relative to the first row. The best mean of a column is bold. "
    "The test split was read once per run, with the weights that validation chose."
)


def _table(comparison: Comparison) -> Html:
    best = {metric: comparison.best(metric) for metric in comparison.metrics}
    rows = [
        [escape(name)]
        + [_cell(comparison, name, metric, best[metric] == name) for metric in comparison.metrics]
        for name in comparison.table
    ]
    return markup.table(["method", *map(metric_label, comparison.metrics)], rows)


def _cell(comparison: Comparison, method: str, metric: str, best: bool) -> Html:
    text = escape(comparison.table[method][metric])
    gain = comparison.gain(method, metric)
    first = method == next(iter(comparison.table))
    change = "" if first or math.isnan(gain) else f" <small>{gain:+.1%}</small>"
    return Html((f"<strong>{text}</strong>" if best else text) + change)


def _plots(comparison: Comparison) -> list[Html]:
    """One dot plot per metric."""
    return [
        markup.figure(
            metric_label(metric),
            dot_plot(
                f"Test {metric_label(metric)} by method",
                {name: row[metric].values for name, row in comparison.table.items()},
                xlabel=metric_label(metric),
            ),
        )
        for metric in comparison.metrics
    ]


def _runs(comparison: Comparison, folder: Path) -> Html:
    """A row for every run, with a link to its report."""
    rows = [
        [
            escape(name),
            escape("–" if run.seed is None else run.seed),
            escape("–" if run.best_epoch is None else run.best_epoch),
            markup.link("report", _relative(run.folder / "report.html", folder)),
        ]
        for name, runs in comparison.methods.items()
        for run in runs
    ]
    return markup.table(["method", "seed", "best epoch", ""], rows)


def _relative(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`, with forward slashes, so that the tree can be moved."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _summarise(values: Sequence[float]) -> Summary:
    mean, spread = mean_and_spread([value for value in values if math.isfinite(value)])
    return Summary(tuple(values), mean, spread)


def _summary(summary: Summary) -> dict[str, object]:
    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "mean": finite(summary.mean),
        "sd": finite(summary.spread),
        "values": [finite(value) for value in summary.values],
    }
