"""The report of a study: several methods side by side, mean and spread over their seeds."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import RunError
from ..run_files import REPORT_FILE
from . import markup
from .colors import method_style
from .markup import Html, breakable, escape
from .numbers import metric_label, number
from .page_files import write_page
from .plots import dot_plot
from .run_record import RunRecord
from .study_cells import Block, Cell, MethodRuns, Row, StudyTable
from .study_files import StudyFiles
from .study_notes import table_notes
from .study_settings import differing_settings
from .study_table import study_table
from .study_table_formats import write_tables

_SPREAD_READING = "Large: mean; bar: one standard deviation either way; rings: the seeds."
_DIFFERENCE_READING = (
    "Mean difference over users, with its 95 % confidence interval by bootstrap over users, and "
    "Holm-corrected p values of both tests."
)
_SETTINGS_READING = (
    "Options that at least two methods have, with different values. A difference in a learning "
    "rate, say, is part of what the table compares."
)


def write_study_report(
    folder: str | os.PathLike[str] | StudyFiles,
    methods: Sequence[MethodRuns],
    metrics: Sequence[str],
    split: str = "test",
    *,
    title: str = "Study",
    command: str = "",
) -> Path:
    """Write `report.html` and the table files into `folder`; links lead to the runs' reports.

    Args:
        folder: study folder, or the files in it that the study has claimed.
        methods: what to compare, and with which other method.
        metrics: metrics to compare, such as `recall@20`.
        split: `test`, or `valid` for a search.
        title: heading of the report.
        command: command line that repeats the study.

    Returns:
        Path of `report.html`; `table.md`, `.tex`, `.csv` and `.json` lie beside it.

    Raises:
        RunError: there is nothing to compare, a run cannot be read, or a file not written.
    """
    if not methods or not all(method.folders for method in methods):
        raise RunError("nothing to compare: give at least one method, each with a run folder")
    return write_study(folder, study_table(methods, metrics, split), title=title, command=command)


def write_study(
    folder: str | os.PathLike[str] | StudyFiles,
    table: StudyTable,
    *,
    title: str = "Study",
    command: str = "",
    sections: Sequence[Html] = (),
) -> Path:
    """What `write_study_report` does, from a table that is there already.

    `sections` come before the table: what a study is about, where that is more than its methods.
    """
    files = folder if isinstance(folder, StudyFiles) else StudyFiles(Path(folder))
    path = files.path(REPORT_FILE)
    write_tables(files, table)
    write_page(path, _render(table, title, command, path.parent, sections))
    return path


def _render(
    table: StudyTable, title: str, command: str, folder: Path, sections: Sequence[Html]
) -> Html:
    """The study as one HTML page that lies in `folder`."""
    rows = [row for block in table.blocks for row in block.rows]
    counts = sorted({len(row.runs) for row in rows if not row.reference})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    body = markup.join(
        [
            *sections,
            *(_block(table, block) for block in table.blocks),
            markup.section("Reading the tables", *map(markup.note, table_notes(table))),
            markup.section("Runs", _run_table(table, folder)),
            markup.section("Repeat this study", markup.code(command)),
        ]
    )
    data = ", ".join(dict.fromkeys(block.name for block in table.blocks if block.name))
    heading = f"{title}: {data}" if data else title
    return markup.page(heading, f"mean ± standard deviation over {seeds}", body)


def _block(table: StudyTable, block: Block) -> Html:
    """Metrics, spread and differences on one data set."""
    name = {"valid": "Validation"}.get(table.split, table.split.capitalize())
    where = f" on {block.name}" if len(table.blocks) > 1 else ""
    return markup.join(
        [
            markup.section(f"{name} metrics{where}", _metric_table(block, table.metrics)),
            markup.section(
                f"Spread over seeds{where}",
                markup.note(_SPREAD_READING),
                markup.grid(*(_plot(block, metric) for metric in table.metrics)),
            ),
            _differences(table, block, where),
            _settings(block, where),
        ]
    )


def _metric_table(block: Block, metrics: Sequence[str]) -> Html:
    """Validation's metric where there is one, then those of the table."""
    valid = [f"validation {metric_label(block.monitor)}"] if block.monitor else []
    rows = [
        [
            breakable(row.label),
            *(_valid(block, row) for _ in valid),
            *map(_cell, row.cells.values()),
        ]
        for row in block.rows
    ]
    rows += [
        [
            escape(f"average +{name}"),
            *(escape("–") for _ in valid),
            *(escape(f"{gain:+.1%}") for gain in gains.values()),
        ]
        for name, gains in block.average_gains().items()
    ]
    return markup.table(["method", *valid, *map(metric_label, metrics)], rows)


def _valid(block: Block, row: Row) -> Html:
    """The metric by which validation chooses, marked for the one that it chooses."""
    choice = " <small>chosen</small>" if row is block.chosen else ""
    return Html(_cell(block.valid(row)) + choice)


def _settings(block: Block, where: str) -> Html:
    """What methods have set differently, or nothing."""
    rows = [
        [breakable(setting.key), breakable(value), breakable(", ".join(labels))]
        for setting in differing_settings(block)
        for value, labels in setting.methods.items()
    ]
    table = markup.table(["option", "value", "methods"], rows, wrap=True)
    note = markup.note(_SETTINGS_READING) if rows else Html("")
    return markup.section(f"Settings that differ{where}", table, note)


def _cell(cell: Cell) -> Html:
    """Mean and spread, and the relative change of the mean against the base."""
    spread = "" if math.isnan(cell.spread) else f" ± {number(cell.spread)}"
    text = escape(number(cell.mean) + spread)
    change = f" <small>{cell.gain:+.1%}{cell.mark}</small>" if math.isfinite(cell.gain) else ""
    return Html((f"<strong>{text}</strong>" if cell.best else text) + change)


def _plot(block: Block, metric: str) -> Html:
    label = metric_label(metric)
    values = {row.label: row.cells[metric].values for row in block.rows}
    styles = {row.label: method_style(row.method) for row in block.rows}
    return markup.figure(label, dot_plot(f"{label} by method", values, xlabel=label, styles=styles))


def _differences(table: StudyTable, block: Block, where: str) -> Html:
    """Effect sizes and p values, or nothing where nothing was tested."""
    tested = [
        (f"{row.label} − {other}", metric, found)
        for row in block.rows
        for metric, cell in row.cells.items()
        for other, found in (
            (row.base, cell.difference),
            (table.against, cell.against and cell.against.difference),
        )
        if found
    ]
    rows = [
        [
            breakable(label),
            escape(metric_label(metric)),
            escape(f"{found.mean:+.4f}"),
            escape(f"{found.low:+.4f} … {found.high:+.4f}"),
            escape(f"{found.t_test:.2g}"),
            escape(f"{found.wilcoxon:.2g}"),
        ]
        for label, metric, found in tested
    ]
    heads = ["difference", "metric", "mean", "95 % interval", "p, t-test", "p, Wilcoxon"]
    shown = markup.table(heads, rows)
    note = markup.note(_DIFFERENCE_READING) if rows else Html("")
    title = f"Differences from the base{f' and from {table.against}' if table.against else ''}"
    return markup.section(title + where, shown, note)


def _run_table(table: StudyTable, folder: Path) -> Html:
    """A row for every run, with a link to its report."""
    rows = [
        [
            breakable(f"{block.name}: {row.label}" if len(table.blocks) > 1 else row.label),
            escape("–" if run.seed is None else run.seed),
            escape(_best_epoch(run)),
            markup.link(_relative(run.folder, folder), _relative(run.folder / REPORT_FILE, folder)),
        ]
        for block in table.blocks
        for row in block.rows
        for run in row.runs
    ]
    return markup.table(["method", "seed", "best epoch", "run folder"], rows, wrap=True)


def _best_epoch(run: RunRecord) -> str:
    """Such as `12 of 20`, with a word where it is the last one."""
    if run.best_epoch is None:
        return "–"
    of = "" if run.epochs is None else f" of {run.epochs}"
    return f"{run.best_epoch}{of}{', not converged' if run.unconverged else ''}"


def _relative(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`, so that the study folder can be moved as a whole."""
    return Path(os.path.relpath(path, folder)).as_posix()
