"""The table of a study as Markdown, LaTeX, CSV, JSON and terminal text."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..fileio import write_text
from .numbers import number
from .study_notes import short_notes, table_notes
from .study_table import Block, Cell, Row, StudyTable
from .text_table import WIDTH, text_table

SHORT = {"recall": "R", "ndcg": "N", "precision": "P", "map": "MAP", "hit": "HR", "mrr": "MRR"}
"""Metric -> short name, for `R@20`."""
_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}
_TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "Δ": r"$\Delta$", "±": r"$\pm$", "−": "$-$"}


def write_tables(folder: str | os.PathLike[str], table: StudyTable) -> list[Path]:
    """Write `table.md`, `table.tex`, `table.csv` and `table.json` into a study folder."""
    texts = {
        "table.md": format_markdown(table) + "\n" + "\n\n".join(table_notes(table)) + "\n",
        "table.tex": format_latex(table),
        "table.csv": format_csv(table),
        "table.json": format_json(table),
    }
    for name, text in texts.items():
        write_text(Path(folder) / name, text)
    return [Path(folder) / name for name in texts]


def format_terminal(table: StudyTable) -> list[str]:
    """Lines of at most 80 columns, one table per data set; gains stand below their means."""
    lines = []
    for block in table.blocks:
        head = [_title(block, table.split), *(short_label(metric) for metric in table.metrics)]
        rows = []
        for row in block.rows:
            rows.append([row.label, *(_mean(cell, " ±").replace(" ", "") for cell in _cells(row))])
            if row.base is not None:
                rows.append([f"  vs {row.base}", *map(_gain, _cells(row))])
        for name, gains in block.average_gains().items():
            rows.append([f"average +{name}", *map(_percent, gains.values())])
        lines += [*text_table(head, rows), ""]
    for note in short_notes(table):
        lines += textwrap.wrap(note, WIDTH, break_on_hyphens=False)
    return lines


def format_markdown(table: StudyTable) -> str:
    """One table, a block of columns per data set; the best mean of a column is bold."""
    rows = [_wide_head(table), ["---"] * (1 + len(table.blocks) * len(table.metrics))]
    rows += _wide_rows(table, _markdown_cell, escape=lambda text: text.replace("|", r"\|"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |\n"
        for row in rows
    )


def format_latex(table: StudyTable) -> str:
    r"""A `tabular` for the package booktabs; what its marks mean stands in comments above it."""
    width = len(table.metrics)
    titles = "".join(
        rf" & \multicolumn{{{width}}}{{c}}{{{_tex(block.name)}}}" for block in table.blocks
    )
    rules = "".join(
        rf"\cmidrule(lr){{{2 + i * width}-{1 + (i + 1) * width}}}" for i in range(len(table.blocks))
    )
    head = ["Method", *(short_label(m) for _ in table.blocks for m in table.metrics)]
    body = [" & ".join(row) + r" \\" for row in _wide_rows(table, _latex_cell, escape=_tex)]
    lines = [
        *(f"% {note}" for note in table_notes(table)),
        rf"\begin{{tabular}}{{l{'c' * width * len(table.blocks)}}}",
        r"\toprule",
        rf"{titles} \\",
        rules,
        " & ".join(head) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def format_csv(table: StudyTable) -> str:
    """One line for every data set, method and metric; an empty field where there is no number."""
    text = io.StringIO()
    records = list(_records(table))
    writer = csv.DictWriter(text, [k for k in records[0] if k not in ("values", "folders")])
    writer.writeheader()
    for record in records:
        writer.writerow({key: record[key] for key in writer.fieldnames})
    return text.getvalue()


def format_json(table: StudyTable) -> str:
    """All numbers, the value of every seed and the run folders among them."""
    averages = [
        {"data": block.name, "alignment": name, "gain": {m: _known(g) for m, g in gains.items()}}
        for block in table.blocks
        for name, gains in block.average_gains().items()
    ]
    plain = {
        "split": table.split,
        "notes": table_notes(table),
        "cells": list(_records(table)),
        "average_gains": averages,
    }
    return json.dumps(plain, indent=2) + "\n"


def short_label(metric: str) -> str:
    """`recall@20` as `R@20`."""
    name, at, k = metric.partition("@")
    return SHORT.get(name, name) + at + k


def _records(table: StudyTable) -> Iterator[dict[str, Any]]:
    """Plain values of every cell; None where there is no number."""
    for block, row, metric, cell in table.cells():
        found = cell.difference
        tested = (
            asdict(found)
            if found
            else dict.fromkeys(("mean", "low", "high", "n_users", "t_test", "wilcoxon"))
        )
        yield {
            "data": block.name,
            "method": row.label,
            "reference": row.reference,
            "metric": metric,
            "mean": _known(cell.mean),
            "sd": _known(cell.spread),
            "seeds": len(cell.values),
            "best": cell.best,
            "base": row.base,
            "gain": _known(cell.gain),
            "difference": tested["mean"],
            "ci_low": tested["low"],
            "ci_high": tested["high"],
            "users": tested["n_users"],
            "p_t_test_holm": tested["t_test"],
            "p_wilcoxon_holm": tested["wilcoxon"],
            "mark": cell.mark,
            "values": [_known(value) for value in cell.values],
            "folders": [str(run.folder) for run in row.runs],
        }


def _wide_head(table: StudyTable) -> list[str]:
    several = len(table.blocks) > 1
    return ["method"] + [
        f"{block.name} {short_label(metric)}" if several else metric
        for block in table.blocks
        for metric in table.metrics
    ]


def _wide_rows(
    table: StudyTable, show: Callable[[Cell], str], *, escape: Callable[[str], str]
) -> Iterator[list[str]]:
    """A row per method, then one per alignment with its average gain; blocks side by side."""
    labels = dict.fromkeys(row.label for block in table.blocks for row in block.rows)
    for label in labels:
        cells = [escape(label)]
        for block in table.blocks:
            row = next((row for row in block.rows if row.label == label), None)
            cells += ["–"] * len(table.metrics) if row is None else map(show, _cells(row))
        yield cells
    averages = [block.average_gains() for block in table.blocks]
    for name in dict.fromkeys(name for gains in averages for name in gains):
        numbers = [
            gains.get(name, {}).get(m, math.nan) for gains in averages for m in table.metrics
        ]
        yield [escape(f"average +{name}"), *(escape(_percent(gain)) for gain in numbers)]


def _markdown_cell(cell: Cell) -> str:
    mean = _mean(cell, " ± ")
    return " ".join(filter(None, [f"**{mean}**" if cell.best else mean, _gain(cell)]))


def _latex_cell(cell: Cell) -> str:
    mean = _tex(_mean(cell, " ± "))
    return " ".join(filter(None, [rf"\textbf{{{mean}}}" if cell.best else mean, _tex(_gain(cell))]))


def _mean(cell: Cell, between: str) -> str:
    spread = "" if math.isnan(cell.spread) else between + number(cell.spread)
    return number(cell.mean) + spread


def _gain(cell: Cell) -> str:
    return _percent(cell.gain) + cell.mark if math.isfinite(cell.gain) else ""


def _percent(gain: float) -> str:
    return f"{gain:+.1%}" if math.isfinite(gain) else "–"


def _cells(row: Row) -> Sequence[Cell]:
    return list(row.cells.values())


def _title(block: Block, split: str) -> str:
    return f"{block.name}, {split}" if block.name else split


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tex(text: str) -> str:
    minus = re.sub(r"^-(?=\d)", "−", text)  # before a number it is no hyphen
    return "".join(_TEX.get(character, character) for character in minus)
