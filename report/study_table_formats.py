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
from .study_cells import Block, Cell, Row, StudyTable
from .study_files import StudyFiles
from .study_notes import short_notes, table_notes
from .text_table import WIDTH, text_table

SHORT = {"recall": "R", "ndcg": "N", "precision": "P", "map": "MAP", "hit": "HR", "mrr": "MRR"}
"""Metric -> short name, for `R@20`."""
_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}
_TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "Δ": r"$\Delta$", "±": r"$\pm$", "−": "$-$"}


def write_tables(folder: str | os.PathLike[str] | StudyFiles, table: StudyTable) -> list[Path]:
    """Write `table.md`, `table.tex`, `table.csv` and `table.json` into a study folder."""
    files = folder if isinstance(folder, StudyFiles) else StudyFiles(Path(folder))
    texts = {
        "table.md": format_markdown(table) + "\n" + "\n\n".join(table_notes(table)) + "\n",
        "table.tex": format_latex(table),
        "table.csv": format_csv(table),
        "table.json": format_json(table),
    }
    for name, text in texts.items():
        write_text(files.path(name), text)
    return [files.path(name) for name in texts]


def format_terminal(table: StudyTable) -> list[str]:
    """Lines of at most 80 columns, one table per data set; gains stand below their means."""
    lines = []
    for block in table.blocks:
        head = [_title(block, table.split), *(short_label(metric) for metric in table.metrics)]
        rows = []
        for row in block.rows:
            chosen = " *" if row is block.chosen else ""
            rows.append([row.label + chosen, *map(_narrow, _cells(row))])
            if row.base is not None:
                rows.append([f"  vs {row.base}", *map(_gain, _cells(row))])
            if _is_against(row):
                rows.append([f"  vs {table.against}", *map(_against, _cells(row))])
            if row.valid:
                rows.append(["  validation", *(_narrow(row.valid[m]) for m in table.metrics)])
        for name, gains in block.average_gains().items():
            rows.append([f"average +{name}", *map(_percent, gains.values())])
        lines += [*text_table(head, rows), ""]
    for note in short_notes(table):
        lines += textwrap.wrap(note, WIDTH, break_on_hyphens=False)
    return lines


def format_markdown(table: StudyTable) -> str:
    """One table, a block of columns per data set; the best mean of a column is bold."""
    head = _wide_head(table)
    rows = [head, ["---"] * len(head)]
    rows += _wide_rows(table, _markdown_cell, escape=_markdown)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |\n"
        for row in rows
    )


def format_latex(table: StudyTable) -> str:
    r"""A `tabular` for the package booktabs; what its marks mean stands in comments above it."""
    width = len(_columns(table))
    titles = "".join(
        rf" & \multicolumn{{{width}}}{{c}}{{{_tex(block.name)}}}" for block in table.blocks
    )
    rules = "".join(
        rf"\cmidrule(lr){{{2 + i * width}-{1 + (i + 1) * width}}}" for i in range(len(table.blocks))
    )
    head = ["Method", *(name for _ in table.blocks for name in _columns(table, short=True))]
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
            **_validation(block, row, metric),
            **_against_record(table, cell),
            "values": [_known(value) for value in cell.values],
            "folders": [str(run.folder) for run in row.runs],
        }


def _validation(block: Block, row: Row, metric: str) -> dict[str, Any]:
    """What validation says of a row, and whether its runs were trained to their end."""
    valid = row.valid.get(metric, Cell((), math.nan, math.nan))
    return {
        "valid_mean": _known(valid.mean),
        "valid_sd": _known(valid.spread),
        "chosen": row is block.chosen,
        "unconverged_runs": len(row.unconverged),
    }


def _against_record(table: StudyTable, cell: Cell) -> dict[str, Any]:
    """The comparison with the method that all are compared with, as plain values."""
    found = cell.against
    tested = found.difference if found else None
    return {
        "against": table.against if found else None,
        "against_gain": _known(found.gain) if found else None,
        "against_difference": tested.mean if tested else None,
        "against_p_t_test_holm": tested.t_test if tested else None,
        "against_p_wilcoxon_holm": tested.wilcoxon if tested else None,
        "against_mark": found.mark if found else "",
    }


def _columns(table: StudyTable, *, short: bool = False) -> list[str]:
    """Names of the columns of a block: validation's metric, then those of the table."""
    monitors = dict.fromkeys(block.monitor for block in table.blocks if block.monitor)
    valid = [f"valid {short_label(' or '.join(monitors))}"] if monitors else []
    return [*valid, *(short_label(metric) if short else metric for metric in table.metrics)]


def _wide_head(table: StudyTable) -> list[str]:
    if len(table.blocks) == 1:
        return ["method", *_columns(table)]
    names = _columns(table, short=True)
    return ["method", *(f"{block.name} {name}" for block in table.blocks for name in names)]


def _wide_rows(
    table: StudyTable, show: Callable[[Cell], str], *, escape: Callable[[str], str]
) -> Iterator[list[str]]:
    """A row per method, then one per alignment with its average gain; blocks side by side."""
    n_columns, with_valid = len(_columns(table)), any(block.monitor for block in table.blocks)
    labels = dict.fromkeys(row.label for block in table.blocks for row in block.rows)
    for label in labels:
        cells, versus = [escape(label)], [escape(f"vs {table.against}")]
        for block in table.blocks:
            row = next((row for row in block.rows if row.label == label), None)
            if row is None:
                cells, versus = cells + ["–"] * n_columns, versus + ["–"] * n_columns
                continue
            mark = escape("*") if row is block.chosen else ""
            cells += [f"{show(block.valid(row))} {mark}".strip()] if with_valid else []
            cells += map(show, _cells(row))
            versus += ["–"] if with_valid else []
            versus += (escape(_against(cell)) or "–" for cell in _cells(row))
        yield cells
        if any(cell != "–" for cell in versus[1:]):
            yield versus
    averages = [block.average_gains() for block in table.blocks]
    for name in dict.fromkeys(name for gains in averages for name in gains):
        row_cells = [escape(f"average +{name}")]
        for gains in averages:
            row_cells += ["–"] if with_valid else []
            means = (gains.get(name, {}).get(m, math.nan) for m in table.metrics)
            row_cells += (escape(_percent(gain)) for gain in means)
        yield row_cells


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


def _against(cell: Cell) -> str:
    found = cell.against
    return _percent(found.gain) + found.mark if found and math.isfinite(found.gain) else ""


def _is_against(row: Row) -> bool:
    return any(cell.against for cell in row.cells.values())


def _narrow(cell: Cell) -> str:
    return _mean(cell, " ±").replace(" ", "")


def _percent(gain: float) -> str:
    return f"{gain:+.1%}" if math.isfinite(gain) else "–"


def _cells(row: Row) -> Sequence[Cell]:
    return list(row.cells.values())


def _title(block: Block, split: str) -> str:
    return f"{block.name}, {split}" if block.name else split


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _markdown(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*")


def _tex(text: str) -> str:
    minus = re.sub(r"^-(?=\d)", "−", text)  # before a number it is no hyphen
    return "".join(_TEX.get(character, character) for character in minus)
