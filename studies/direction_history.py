"""What directions and scores did over the epochs of a method's runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..report.markup import Html
from ..report.plots import Scale, line_plot
from ..report.run_record import Epoch, read_run

SHARE, SCORE, VARIANCE = "direction/", "score/", "score_variance/"
"""Prefixes of diagnostics in `history.jsonl`."""


@dataclass(frozen=True)
class DirectionHistory:
    """By epoch, averaged over the seeds, as far as all of them trained.

    Attributes:
        epochs: numbers of the epochs.
        shares: `source_to_target` -> share of the items.
        scores: modality -> mean feedback score; nothing for runs that did not write it.
        variances: modality -> variance of the scores over items, likewise.
    """

    epochs: tuple[int, ...]
    shares: Mapping[str, tuple[float, ...]]
    scores: Mapping[str, tuple[float, ...]]
    variances: Mapping[str, tuple[float, ...]]


def read_direction_history(folders: Sequence[Path]) -> DirectionHistory:
    """Read the histories of the runs of one method."""
    runs = [read_run(folder).history for folder in folders]
    length = min(map(len, runs))

    def averaged(prefix: str) -> dict[str, tuple[float, ...]]:
        rows = [epoch.diagnostics for run in runs for epoch in run[:length]]
        names = [name for name in rows[0] if all(name in row for row in rows)]
        return {
            name.removeprefix(prefix): _mean(runs, name, length)
            for name in names
            if name.startswith(prefix)
        }

    epochs = tuple(epoch.number for epoch in runs[0][:length])
    return DirectionHistory(epochs, averaged(SHARE), averaged(SCORE), averaged(VARIANCE))


def _mean(runs: Sequence[Sequence[Epoch]], name: str, length: int) -> tuple[float, ...]:
    """A diagnostic by epoch."""
    values = [[epoch.diagnostics[name] for epoch in run[:length]] for run in runs]
    return tuple(np.mean(values, axis=0).tolist())


def history_plots(label: str, history: DirectionHistory) -> Iterator[tuple[str, Html]]:
    """Titles and plots of shares and scores by epoch."""
    kinds: tuple[tuple[str, Mapping[str, Sequence[float]], str, Scale], ...] = (
        ("directions", history.shares, "share of items", "percent"),
        ("mean scores", history.scores, "mean cosine with users", "linear"),
        ("variance of scores", history.variances, "variance over items", "linear"),
    )
    for what, values, ylabel, scale in kinds:
        series = {
            name.replace("_to_", " → "): (history.epochs, line) for name, line in values.items()
        }
        title = f"{label}: {what}"
        yield title, line_plot(title, series, xlabel="epoch", ylabel=ylabel, scale=scale)
