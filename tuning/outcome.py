"""What a search leaves: the trials, the best configuration as YAML, a report and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml
from optuna.trial import FrozenTrial

from ..config import RunConfig, parse_config, to_plain
from ..report import markup
from ..report.colors import series_style
from ..report.markup import Html, escape
from ..report.numbers import duration, metric_label, number
from ..report.plots import scatter_plot
from ..studies.methods import method_label
from .trials import ERROR, REPEATED, Tuning, number_of

_READING = (
    "Chosen on validation alone; the test split was not read. The best of many trials flatters "
    "itself: train its configuration anew with several seeds before reporting it. Pruned trials "
    "were stopped because they fell behind the median of the others; their value is the best one "
    "until then."
)
_STATES = {"complete": series_style(0), "pruned": series_style(1)}
_REPEATABLE = 10
"""Trials whose command the report shows; JSON has all of them."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: its index among the trials that were asked for.
        state: complete, pruned or fail.
        value: the validation metric; of a pruned trial, the best until then; NaN without any.
        params: key -> value.
        best_epoch: epoch of the value.
        epochs: epochs that were judged.
        seconds: of a complete trial.
        error: why it failed.
        repeats: number of the earlier trial of the same values whose outcome this one took over.
        curve: epoch -> validation metric.
        command: the command that trains this configuration.
    """

    number: int
    state: str
    value: float
    params: dict[str, Any]
    best_epoch: int | None
    epochs: int
    seconds: float | None
    error: str | None
    repeats: int | None
    curve: dict[int, float]
    command: str


def records(trials: Sequence[FrozenTrial], tuning: Tuning) -> tuple[TrialRecord, ...]:
    """Trials best first: complete ones, then pruned ones, then failed ones."""
    return tuple(sorted((_record(trial, tuning) for trial in trials), key=_rank))


def _rank(trial: TrialRecord) -> tuple[int, float, int]:
    value = -trial.value if math.isfinite(trial.value) else math.inf
    return ("complete", "pruned", "fail").index(trial.state), value, trial.number


def _record(trial: FrozenTrial, tuning: Tuning) -> TrialRecord:
    state, curve = trial.state.name.lower(), dict(trial.intermediate_values)
    reached = max(curve.values(), default=math.nan)
    value = trial.value if state == "complete" and trial.value is not None else reached
    best = next((epoch for epoch, reported in curve.items() if reported == value), None)
    sets = " ".join(f"--set {key}={_exact(value)}" for key, value in trial.params.items())
    return TrialRecord(
        number=number_of(trial),
        state=state,
        value=value,
        params=dict(trial.params),
        best_epoch=trial.user_attrs.get("best_epoch", best),
        epochs=len(curve),
        seconds=trial.user_attrs.get("seconds"),
        error=trial.user_attrs.get(ERROR),
        repeats=trial.user_attrs.get(REPEATED),
        curve=curve,
        command=f"crossalign train --config {tuning.folder}/base.yaml {sets} --out NEW_FOLDER",
    )


def best_yaml(config: RunConfig, best: TrialRecord, metric: str) -> str:
    """The configuration in the form of the presets: what differs from the defaults."""
    names = {"backbone": config.backbone.name}
    names["alignment"] = config.alignment.name if config.alignment else "none"
    usual, plain = to_plain(parse_config(names)), to_plain(config)
    short: dict[str, Any] = {}
    for key, value in plain.items():
        if not isinstance(value, dict):
            changed = value if value != usual[key] else None
        else:
            changed = {k: v for k, v in value.items() if k == "name" or v != usual[key].get(k)}
        if changed not in (None, {}):
            short[key] = changed
    head = f"# {method_label(config)}; validation {metric_label(metric)} {number(best.value)}"
    text = yaml.safe_dump(short, sort_keys=False, default_flow_style=None, width=100)
    return f"{head} (trial {best.number}, seed {config.seed}).\n{text}"


def to_json(trials: Sequence[TrialRecord], tuning: Tuning, command: str) -> str:
    """All trials with their curves; null where there is no number."""
    plain = [asdict(trial) for trial in trials]
    for entry in plain:
        entry["value"] = entry["value"] if math.isfinite(entry["value"]) else None
    whole = {"metric": tuning.metric, "split": "valid", "command": command, "trials": plain}
    return json.dumps(whole, indent=1) + "\n"


def render(trials: Sequence[TrialRecord], best: RunConfig, tuning: Tuning, command: str) -> Html:
    """The search as one HTML page."""
    label = metric_label(tuning.metric)
    counts = {s: sum(t.state == s for t in trials) for s in ("complete", "pruned", "fail")}
    tiles = {f"validation {label}": number(trials[0].value), "complete": str(counts["complete"])}
    tiles |= {"pruned": str(counts["pruned"]), "failed": str(counts["fail"])}
    commands = "\n".join(trial.command for trial in trials[:_REPEATABLE])
    body = markup.join(
        [
            markup.tiles(tiles),
            markup.note(_READING),
            markup.section(
                "Best configuration", markup.code(best_yaml(best, trials[0], tuning.metric))
            ),
            markup.section("Trials", _trial_table(trials, tuning, label)),
            markup.section("What was tried", markup.grid(*_plots(trials, tuning, label))),
            markup.section("Repeat a trial, best first", markup.code(commands)),
            markup.section("Repeat this search", markup.code(command)),
        ]
    )
    lead = f"{len(trials)} trials on {best.path}, judged on validation, seed {best.seed}"
    return markup.page(f"Tuning {method_label(best)}", lead, body)


def _trial_table(trials: Sequence[TrialRecord], tuning: Tuning, label: str) -> Html:
    keys = list(tuning.space)
    rows = [
        [
            escape(trial.number),
            escape(trial.state if trial.repeats is None else f"as {trial.repeats}"),
            escape(number(trial.value)),
            escape("–" if trial.best_epoch is None else trial.best_epoch),
            *(escape(_short(trial.params.get(key, "–"))) for key in keys),
            escape("–" if trial.seconds is None else duration(trial.seconds)),
        ]
        for trial in trials
    ]
    heads = ["trial", "state", label, "epoch", *(key.partition(".")[2] for key in keys), "time"]
    return markup.table(heads, rows, best=0)


def _plots(trials: Sequence[TrialRecord], tuning: Tuning, label: str) -> list[Html]:
    """The metric by trial, and by the value of every numeric key."""
    own = [trial for trial in trials if trial.state != "fail"]
    shown = [("trial", False, {t.number: float(t.number) for t in own})]
    for key in tuning.space:
        values = {t.number: t.params[key] for t in own if _is_number(t.params.get(key))}
        least, most = min(values.values(), default=0), max(values.values(), default=0)
        wide = least > 0 and most >= 50 * least
        shown.append((key, wide, values))
    figures = []
    for name, scale, values in shown:
        groups = {
            state: (
                [values[t.number] for t in own if t.state == state and t.number in values],
                [t.value for t in own if t.state == state and t.number in values],
            )
            for state in _STATES
        }
        title = f"{label} by {name.partition('.')[2] or name}"
        svg = scatter_plot(
            title,
            groups,
            xlabel=name,
            ylabel=f"validation {label}",
            styles=_STATES,
            logarithmic=scale,
        )
        figures.append(markup.figure(title, svg))
    return figures


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _exact(value: object) -> str:
    """A value as YAML and `--set` read it back; `1e-05` would be a word to them."""
    return yaml.safe_dump(value).splitlines()[0]


def _short(value: object) -> str:
    """A value as a table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
