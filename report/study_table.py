"""The table of a study: mean, spread, gain over the base and its significance on every data set.

Everything that shows a study (terminal, HTML, Markdown, LaTeX, CSV, JSON) reads this one table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..evaluation.per_user import UserMetrics, load_user_metrics
from ..evaluation.significance import Difference, average_seeds, compare_users, correct
from ..run_files import USERS_FILE
from .numbers import measure
from .run_record import RunRecord, read_run
from .study_cells import Against, Block, Cell, MethodRuns, Row, StudyTable


def study_table(
    methods: Sequence[MethodRuns], metrics: Sequence[str], split: str = "test", *, against: str = ""
) -> StudyTable:
    """The table of finished runs, read from their folders.

    Args:
        methods: what to compare, and with which other method.
        metrics: such as `recall@20`.
        split: `test`, or `valid` for a search; only test metrics are tested for significance.
        against: label of a method that all others on the same data are compared with too.

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
            differences, lacking = _differences(group, metrics, against)
            found |= {(data, *key): difference for key, difference in differences.items()}
            without += lacking
    corrected = correct(found)
    table = StudyTable(metrics, split, (), tuple(dict.fromkeys(without)), against)
    blocks = tuple(_block(data, group, table, corrected) for data, group in groups.items())
    return replace(table, blocks=blocks)


def _differences(
    group: Mapping[str, MethodRuns], metrics: Sequence[str], against: str
) -> tuple[dict[tuple[str, str, str], Difference], list[str]]:
    """`(label, other, metric)` -> difference from the other; and labels that have no user file."""
    bases = [(m.label, m.base) for m in group.values() if m.base in group]
    others = [(label, against) for label in group if against in group and label != against]
    pairs = list(dict.fromkeys([*bases, *others]))
    needed = dict.fromkeys(label for pair in pairs for label in pair if label is not None)
    users = {label: _users(group[label]) for label in needed}
    found: dict[tuple[str, str, str], Difference] = {}
    for label, other in pairs:
        ours, theirs = users[label], users[other or ""]
        if ours is not None and theirs is not None:
            compared = compare_users(ours, theirs, metrics)
            found |= {(label, other or "", metric): found for metric, found in compared.items()}
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
    table: StudyTable,
    differences: Mapping[tuple[str, ...], Difference],
) -> Block:
    """All methods on one data set, for `table`, which has no blocks yet."""
    runs = {label: tuple(read_run(Path(f)) for f in m.folders) for label, m in group.items()}
    cells = _cells(runs, table.metrics, table.split)
    monitor = _monitor(runs, table.metrics) if table.split == "test" else ""
    watched = dict.fromkeys([monitor, *table.metrics]) if monitor else ()
    valid = _cells(runs, list(watched), "valid")

    def compared(label: str, metric: str) -> Cell:
        base, cell = group[label].base, cells[label][metric]

        def versus(other: str | None) -> Against | None:
            if other not in cells or other == label:
                return None
            alone = cells[other][metric].mean
            gain = cell.mean / alone - 1 if alone else math.nan
            return Against(gain, differences.get((data, label, other, metric)))

        own = versus(base) or Against(math.nan, None)
        other = versus(table.against) if table.against != base else None
        return replace(cell, gain=own.gain, difference=own.difference, against=other)

    rows = [
        Row(
            label,
            method.base if method.base in group else None,
            method.reference,
            runs[label],
            {metric: compared(label, metric) for metric in table.metrics},
            valid[label],
        )
        for label, method in group.items()
    ]
    named = (run.dataset for ours in runs.values() for run in ours if run.dataset)
    return Block(data or next(named, ""), tuple(rows), monitor)


def _monitor(runs: Mapping[str, Sequence[RunRecord]], metrics: Sequence[str]) -> str:
    """The metric that chose the epochs of all methods, else the first of the table."""
    trained = {run.monitor for ours in runs.values() for run in ours if run.best_epoch is not None}
    return trained.pop() if len(trained) == 1 else metrics[0]


def _cells(
    runs: Mapping[str, Sequence[RunRecord]], metrics: Sequence[str], split: str
) -> dict[str, dict[str, Cell]]:
    """Label -> metric -> cell, compared with nothing yet."""
    values = {
        label: {metric: _values(ours, split, metric) for metric in metrics}
        for label, ours in runs.items()
    }
    best = {metric: _best(row[metric] for row in values.values()) for metric in metrics}
    return {
        label: {
            metric: Cell(found, *_summary(found), best=_summary(found)[0] == best[metric])
            for metric, found in row.items()
        }
        for label, row in values.items()
    }


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
