"""What stands below the table of a study: how to read it, and what to be careful about."""

from __future__ import annotations

import math

from .numbers import metric_label
from .run_record import RunRecord
from .study_cells import MARKS, Block, Row, StudyTable

_SPLIT_READING = {
    "test": "The test split was read once per run, with the weights that validation chose.",
    "valid": "Choices are made on these numbers; they flatter what was chosen.",
}


def table_notes(table: StudyTable) -> list[str]:
    """Sentences below the table, each a paragraph."""
    reading = "Mean ± standard deviation over seeds; the best mean of a column is bold."
    if any(math.isfinite(cell.gain) for *_, cell in table.cells()):
        reading += f" Percentages are relative to the base, {_bases(table)}."
    if any(block.average_gains() for block in table.blocks):
        reading += " Average rows are the means of these percentages over the backbones."
    return [reading, _SPLIT_READING[table.split], *short_notes(table)]


def short_notes(table: StudyTable) -> list[str]:
    """What validation chooses, significance and who lacks it, and what is not as it should be."""
    notes = [*filter(None, (_choice(block, len(table.blocks) > 1) for block in table.blocks))]
    if table.differences:
        notes.append(_significance(table))
    if table.without_users:
        notes.append(
            "No significance where these take part, older runs without the metrics of single "
            f"users: {', '.join(table.without_users)}. Train them anew to have it."
        )
    notes += filter(None, map(_below_references, table.blocks))
    notes += filter(None, [_unconverged(table)])
    return notes


def _choice(block: Block, several: bool) -> str:
    """Which method validation chooses, and whether the test split would have chosen another."""
    chosen, rows = block.chosen, block.rows
    if chosen is None or len(rows) < 2:
        return ""
    where, monitor = f"On {block.name}, v" if several else "V", metric_label(block.monitor)
    level = [row.label for row in rows if row is not chosen and block.valid(row).best]
    tie = f", level with {', '.join(level)}" if level else ""
    text = f"{where}alidation chooses {chosen.label} (*), by {monitor}{tie}."
    best = next((row for row in rows if _leads(row, block.monitor)), chosen)
    if best is not chosen:
        text += f" On test {best.label} has more; to choose it for that would be choosing on test."
    return text


def _leads(row: Row, metric: str) -> bool:
    return metric in row.cells and row.cells[metric].best


def _unconverged(table: StudyTable) -> str:
    """Names the methods whose best epoch is the last one; nothing where there are none."""
    found = []
    for block in table.blocks:
        for row in block.rows:
            if row.unconverged:
                label = f"{block.name} {row.label}" if len(table.blocks) > 1 else row.label
                found.append(f"{label} ({len(row.unconverged)} of {len(row.runs)} runs)")
    return (
        "Not converged, the best epoch is the last one trained: "
        f"{', '.join(found)}. More training.epochs may change the order."
        if found
        else ""
    )


def _bases(table: StudyTable) -> str:
    """What the rows that have a base are compared with."""
    runs: dict[str, RunRecord] = {}
    for block in table.blocks:
        first = {row.label: row.runs[0] for row in block.rows}
        runs |= {row.base: first[row.base] for row in block.rows if row.base is not None}
    if all(label == run.backbone for label, run in runs.items()):
        return "the backbone alone"
    if all(run.alignment is None and label.startswith(run.backbone) for label, run in runs.items()):
        return "the backbone alone on the same data"
    return " or ".join(runs)


def _significance(table: StudyTable) -> str:
    """What the marks mean."""
    marks = ", ".join(f"{mark} p < {limit}" for limit, mark in reversed(MARKS))
    tested = table.differences
    users = sorted({difference.n_users for difference in tested})
    return (
        f"{marks}: differs from {_compared(table)} by both a paired t-test and a Wilcoxon "
        f"signed-rank test over {' or '.join(map(str, users))} users, seeds averaged for each "
        f"user, two-sided, Holm-corrected over the {len(tested)} differences of the table."
    )


def _compared(table: StudyTable) -> str:
    """What differences are taken from."""
    based = any(cell.difference for *_, cell in table.cells())
    return " or ".join(["its base"] * based + [table.against] * bool(table.against))


def _below_references(block: Block) -> str:
    """Names the methods that a reference line beats; nothing where there are none."""
    references = [row for row in block.rows if row.reference]
    below = []
    for row in block.rows:
        lines = [
            (line.cells[metric].mean, line.label, metric)
            for metric in row.cells
            for line in references
            if not row.reference and line.cells[metric].mean > row.cells[metric].mean
        ]
        if lines:
            names = dict.fromkeys(label for _, label, _ in lines)
            below.append(f"{row.label} ({', '.join(names)})")
    where = f"On {block.name}, b" if block.name else "B"
    return f"{where}elow a reference line in some metric: {', '.join(below)}." if below else ""
