"""The report of one run: `report.html`, a single self-contained file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..run_files import REPORT_FILE
from . import markup
from .colors import method_style
from .markup import Html, escape
from .numbers import METRIC_LABELS, duration, metric_label, number
from .page_files import write_page
from .plots import Mark, line_plot
from .run_record import Epoch, RunRecord, read_run

_ALIGN = "align/"
_DIRECTION = "direction/"
_TEMPERATURE = "temperature/"


_DIRECTIONS_READING = (
    "A direction a → b moves view a of an item towards its view b, which stays where it is. "
    "Plotted is the share of a batch's items for which it is active, as mean over the epoch."
)


def write_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write `report.html` into a run folder and return its path.

    Sections whose data the run did not write are left out.

    Raises:
        RunError: the folder holds no metrics, or a file in it is not valid JSON.
    """
    run = read_run(Path(run_dir))
    path = run.folder / REPORT_FILE
    write_page(path, render(run))
    return path


def render(run: RunRecord) -> Html:
    """The report of `run` as one HTML page."""
    title = f"{run.method} on {run.dataset}" if run.dataset else run.method
    body = markup.join(
        [
            _headline(run.test),
            markup.section("Metrics", _metrics(run)),
            markup.section("Training", markup.grid(*_learning_curves(run))),
            markup.section("Alignment", *_alignment(run.history)),
            markup.section("Evidence", *_evidence(run)),
            markup.section("Data and time", _data_and_time(run)),
            markup.section("Repeat this run", markup.code(run.command)),
            markup.section("Configuration", markup.code(run.config, columns=True)),
            markup.section(
                "Versions", markup.grid(markup.panel("Packages", markup.facts(run.versions)))
            ),
        ]
    )
    return markup.page(title, _subtitle(run), body)


def _subtitle(run: RunRecord) -> str:
    parts = [f"seed {run.seed}" if run.seed is not None else ""]
    if run.epochs is not None:
        parts.append(f"{run.epochs} epochs")
    if run.best_epoch is not None:
        which = "the best on validation" if run.held_out else "the last: nothing was held out"
        parts.append(f"weights of epoch {run.best_epoch}, {which}")
    if run.measured_on is not None:
        parts.append(f"metrics of {run.measured_on}, which held rows out")
    return ", ".join(part for part in parts if part)


def _headline(test: Mapping[str, float]) -> Html:
    keys = [f"{name}@20" for name in ("recall", "ndcg", "hit", "mrr")]
    return markup.tiles({f"test {metric_label(k)}": number(test[k]) for k in keys if k in test})


def _metrics(run: RunRecord) -> Html:
    return markup.grid(
        markup.panel("Test", _metric_table(run.test)),
        markup.panel("Validation", _metric_table(run.valid)),
    )


def _metric_table(values: Mapping[str, float]) -> Html:
    """Metrics by row, cut-offs by column."""
    pairs = [key.partition("@")[::2] for key in values if "@" in key]
    cutoffs = sorted({k for _, k in pairs}, key=lambda k: (len(k), k))
    names = dict.fromkeys([*METRIC_LABELS, *(name for name, _ in pairs)])
    rows = [
        [escape(metric_label(name))]
        + [escape(number(values.get(f"{name}@{k}", math.nan))) for k in cutoffs]
        for name in names
        if any(name == other for other, _ in pairs)
    ]
    return markup.table(["", *(f"@{k}" for k in cutoffs)], rows)


def _learning_curves(run: RunRecord) -> Iterator[Html]:
    scores = {epoch.number: epoch.valid.get(run.monitor, math.nan) for epoch in run.history}
    label = metric_label(run.monitor)
    title = f"{label} on validation by epoch"
    curve = line_plot(
        title,
        {label: (list(scores), list(scores.values()))},
        xlabel="epoch",
        ylabel=label,
        mark=_best(scores, run.best_epoch),
        styles={label: method_style(run.method)},
    )
    yield markup.figure(title, curve)
    terms = _series({epoch.number: epoch.losses for epoch in run.history})
    used = {name: line for name, line in terms.items() if any(line[1])}
    own = {name: line for name, line in used.items() if not name.startswith(_ALIGN)}
    aligned = {name.removeprefix(_ALIGN): used[name] for name in used if name not in own}
    for title, series in (("Loss of the backbone", own), ("Loss of the alignment", aligned)):
        losses = line_plot(
            title,
            series,
            xlabel="epoch",
            ylabel="weighted, log scale",
            scale="magnitudes",
        )
        yield markup.figure(title, losses)


def _best(scores: Mapping[int, float], epoch: int | None) -> Mark | None:
    """The mark at the best epoch, if it is known and was evaluated."""
    if epoch is None or not math.isfinite(scores.get(epoch, math.nan)):
        return None
    return Mark(epoch, scores[epoch], f"best: {number(scores[epoch])} in epoch {epoch}")


def _alignment(history: Sequence[Epoch]) -> tuple[Html, ...]:
    """Curves of the directions and temperatures, with how to read them; nothing without any."""
    curves = markup.grid(*_alignment_curves(history))
    return (markup.note(_DIRECTIONS_READING), curves) if curves else ()


def _alignment_curves(history: Sequence[Epoch]) -> Iterator[Html]:
    series = _series({epoch.number: epoch.diagnostics for epoch in history})
    names = [key.removeprefix(_DIRECTION) for key in series if key.startswith(_DIRECTION)]
    for first, second in _modality_pairs(names):
        forth, back = f"{first}_to_{second}", f"{second}_to_{first}"
        lines = {name: series[_DIRECTION + name] for name in (forth, back) if name in names}
        title = f"Directions between {first} and {second}"
        shares = line_plot(
            title,
            {name.replace("_to_", " → "): line for name, line in lines.items()},
            xlabel="epoch",
            ylabel="share of items",
            scale="percent",
        )
        yield markup.figure(title, shares)
    title = "Learnt temperatures"
    temperatures = line_plot(
        title,
        {
            key.removeprefix(_TEMPERATURE): line
            for key, line in series.items()
            if key.startswith(_TEMPERATURE)
        },
        xlabel="epoch",
        ylabel="temperature",
    )
    yield markup.figure(title, temperatures)


def _modality_pairs(directions: Sequence[str]) -> list[tuple[str, str]]:
    """The unordered pairs of modalities in names such as `image_to_text`, in order."""
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for name in directions:
        source, _, target = name.partition("_to_")
        pairs.setdefault(frozenset((source, target)), (source, target))
    return list(pairs.values())


def _series(rows: Mapping[int, Mapping[str, float]]) -> dict[str, tuple[list[int], list[float]]]:
    """Rows by epoch turned into one series per key: epochs and values."""
    series: dict[str, tuple[list[int], list[float]]] = {}
    for epoch, values in rows.items():
        for key, value in values.items():
            epochs, numbers = series.setdefault(key, ([], []))
            epochs.append(epoch)
            numbers.append(value)
    return series


def _evidence(run: RunRecord) -> Iterator[Html]:
    """What was added, what the model has without it, and what was tried on validation."""
    if not run.evidence:
        return
    alone = [
        markup.panel(f"{name}, model alone", _metric_table(run.alone.get(split, {})))
        for split, name in (("test", "Test"), ("valid", "Validation"))
    ]
    facts = {key: _fact(value) for key, value in run.evidence.items()}
    yield markup.grid(markup.panel("Added to the model's scores", markup.facts(facts)), *alone)
    if run.tried:
        label = metric_label(run.monitor)
        title = f"{label} on validation by weight of the evidence"
        yield markup.figure(title, line_plot(title, run.tried, xlabel="weight", ylabel=label))


def _data_and_time(run: RunRecord) -> Html:
    facts = {key.replace("_", " "): _fact(value) for key, value in run.facts.items()}
    for split, values in (("validation", run.valid), ("test", run.test)):
        if "n_users" in values:
            facts[f"{split} users"] = _fact(int(values["n_users"]))
    seconds = {key.replace("_", " "): duration(value) for key, value in run.seconds.items()}
    seconds |= {f"{key}, median epoch": duration(value) for key, value in run.per_epoch.items()}
    return markup.grid(
        markup.panel("Data set", markup.facts(facts)),
        markup.panel("Time", markup.facts(seconds)),
    )


def _fact(value: object) -> str:
    """A fact of the data set: thousands apart, lists and mappings on one line."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_fact(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_fact(item) for item in value)
    return str(value)
