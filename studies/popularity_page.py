"""The report of `popularity` as files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ..fileio import write_text
from ..report import markup
from ..report.colors import method_styles
from ..report.markup import Html, breakable, escape
from ..report.numbers import Measure, metric_label
from ..report.page_files import write_page
from ..report.plots import Ticks, curve_plot
from ..report.study_files import claim_files
from ..run_files import REPORT_FILE
from .popularity import DataByPopularity, PopularityReport, list_rows


def write_popularity(folder: str | os.PathLike[str], found: PopularityReport, command: str) -> Path:
    """Write `popularity.json`, `popularity.csv` and `report.html`; returns the page's path.

    In a folder that holds a study, or other groups, they are numbered and replace nothing.
    """
    kind = f"popularity {found.split} {found.k} {found.by}"
    groups = [f"{block.data} {group.name}" for block in found.data for group in block.groups]
    runs = [run for block in found.data for method in block.methods for run in method.folders]
    files = claim_files(Path(folder), kind, [*groups, *map(str, runs)], ())
    write_text(files.path("popularity.json"), json.dumps(found.to_dict(), indent=2) + "\n")
    write_text(files.path("popularity.csv"), found.to_csv())
    sections = [section for block in found.data for section in _sections(found, block)]
    page = markup.page(
        f"Item popularity: {', '.join(block.data for block in found.data)}",
        f"{found.split} split, lists of {found.k}, mean ± standard deviation over seeds",
        markup.join([*sections, markup.section("Repeat this", markup.code(command))]),
    )
    path = files.path(REPORT_FILE)
    write_page(path, page)
    return path


def _sections(found: PopularityReport, block: DataByPopularity) -> Iterator[Html]:
    """Metrics and shares by group on one data set, and the same numbers as tables."""
    where = f" on {block.data}"
    metrics = [metric_label(name) for name in found.metrics]
    yield markup.section(f"By item popularity{where}", markup.grid(*_figures(found, block)))
    sizes = [list(map(escape, asdict(group).values())) for group in block.groups]
    heads = ["group", "items", "interactions", "held out", "users"]
    yield markup.section(f"Groups of equal {found.by}{where}", markup.table(heads, sizes))
    heads = ["method", "group", *metrics, "share"]
    yield markup.section(f"Numbers{where}", _table(heads, found.rows(block)))
    heads = ["method", "coverage", "Gini", "mean popularity"]
    yield markup.section(f"Lists of {found.k}{where}", _table(heads, list_rows(block)))
    runs = [[breakable(m.label), breakable(", ".join(m.folders))] for m in block.methods]
    yield markup.section(f"Runs{where}", markup.table(["method", "folders"], runs, wrap=True))


def _figures(found: PopularityReport, block: DataByPopularity) -> Iterator[Html]:
    groups = [group.name for group in block.groups]
    ticks = Ticks("popularity group, 1 the least popular", groups)
    by_title = {
        metric_label(name): {
            m.label: [_point(v.get(name)) for v in m.groups] for m in block.methods
        }
        for name in found.metrics
    }
    shares = "Share of all recommendations"
    by_title[shares] = {m.label: [share.point for share in m.shares] for m in block.methods}
    for title, series in by_title.items():
        svg = curve_plot(
            f"{title} by popularity group",
            series,
            ticks,
            ylabel="share" if title == shares else title,
            percent=title == shares,
            styles=method_styles({m.label: m.method for m in block.methods}),
        )
        yield markup.figure(title, svg)


def _table(heads: list[str], rows: list[list[str]]) -> Html:
    return markup.table(heads, [list(map(escape, row)) for row in rows])


def _point(found: Measure | None) -> tuple[float, float]:
    return (math.nan, math.nan) if found is None else found.point
