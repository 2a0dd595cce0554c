"""Which way to align: thresholds (FETTLE, Figure 4), all rules, and what directions do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from ..align.directions import Directions
from ..align.rules import ThetaOf
from ..config import RunConfig
from ..errors import ConfigError, unknown_name
from ..report import markup
from ..report.colors import method_styles
from ..report.markup import Html
from ..report.numbers import Measure, measure, metric_label
from ..report.plots import Ticks, curve_plot
from ..report.text_table import text_table
from ..run_folder import finished_metrics
from .direction_history import DirectionHistory, history_plots, read_direction_history
from .measures import change, percent
from .methods import Method, compared_methods, method_label
from .study import MethodResult

ONE_WAY: Directions = "one_way"
POLICIES: tuple[Directions, ...] = tuple(p for p in get_args(Directions) if p != "threshold")
"""Rules without a threshold."""
THETAS = (-1.0, 0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""From all directions (but for ties) to the one-way rule: scores are cosines."""


@dataclass(frozen=True)
class DirectionResult:
    """One rule for directions.

    Attributes:
        data: name of the data set in a study of several.
        method: `backbone+alignment`.
        label: of the method in the study.
        directions: the rule.
        theta: its threshold, None for a rule without.
        theta_of: whose score that is, likewise.
        metric: on the test split.
        change: relative change against the one-way rule; None for that rule itself.
        agreement: share of decided directions that are as planted; None for other data.
        decided: share of the judged pairs of item and modality with one active direction.
        history: shares and scores by epoch, averaged over the seeds.
    """

    data: str
    method: str
    label: str
    directions: Directions
    theta: float | None
    theta_of: ThetaOf | None
    metric: Measure
    change: Measure | None
    agreement: Measure | None
    decided: Measure | None
    history: DirectionHistory

    @property
    def rule(self) -> str:
        """The rule in a few words."""
        return self.directions if self.theta is None else f"{self.theta_of} > {self.theta:g}"


@dataclass(frozen=True)
class DirectionReport:
    """All rules, in one metric."""

    metric: str
    results: tuple[DirectionResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """A table of at most 80 columns for each method, below its name."""
        head = ["rule", f"test {self.metric}", "vs one_way", "as planted", "decided"]
        lines = []
        for data, method in dict.fromkeys((found.data, found.method) for found in self.results):
            rows = [
                [
                    found.rule,
                    found.metric.text(),
                    percent(found.change),
                    "–" if found.agreement is None else f"{found.agreement.mean:.0%}",
                    "–" if found.decided is None else f"{found.decided.mean:.0%}",
                ]
                for found in self.results
                if (found.data, found.method) == (data, method)
            ]
            lines += [f"{data} {method}".strip(), *text_table(head, rows), ""]
        return lines[:-1]

    def sections(self) -> list[Html]:
        """Threshold curves, and shares and scores by epoch of every rule without a threshold."""
        methods = dict.fromkeys((found.data, found.method) for found in self.results)
        sweeps = [markup.figure(name, svg) for key in methods for name, svg in self._sweep(*key)]
        histories = [
            markup.figure(title, svg)
            for found in self.results
            if found.theta is None
            for title, svg in history_plots(f"{found.data} {found.label}".strip(), found.history)
        ]
        return [
            markup.section("Thresholds", markup.grid(*sweeps)),
            markup.section("Directions and scores by epoch", markup.grid(*histories)),
        ]

    def _sweep(self, data: str, method: str) -> Iterator[tuple[str, Html]]:
        """The metric over the thresholds, a line for each end whose score is looked at."""
        ours = [r for r in self.results if (r.data, r.method) == (data, method)]
        thetas = sorted({r.theta for r in ours if r.theta is not None})
        if not thetas:
            return
        series = {
            f"score of {end}": [
                next((r.metric.point for r in ours if (r.theta, r.theta_of) == (t, end)), _GAP)
                for t in thetas
            ]
            for end in dict.fromkeys(r.theta_of for r in ours if r.theta_of is not None)
        }
        one_way = next(r.metric.mean for r in ours if r.directions == ONE_WAY)
        title = f"{data} {method}".strip()
        ticks = Ticks("threshold θ on a cosine", [f"{theta:g}" for theta in thetas])
        yield (
            title,
            curve_plot(
                title,
                series,
                ticks,
                ylabel=metric_label(self.metric),
                level=("one-way", one_way),
                styles=method_styles(dict.fromkeys([*series, "one-way"], method)),
            ),
        )


_GAP = (math.nan, math.nan)


def direction_methods(
    configs: Sequence[RunConfig],
    *,
    policies: Sequence[str] = POLICIES,
    thetas: Sequence[float] = THETAS,
    theta_of: Sequence[str] = ("source",),
) -> list[Method]:
    """Every configuration under every rule, compared with the one-way rule, and its backbone alone.

    The one-way rule is always trained.

    Args:
        configs: with item-level alignment.
        policies: rules without a threshold.
        thetas: thresholds, from -1 to 1.
        theta_of: whose scores are compared with the thresholds: source, target, either.

    Raises:
        ConfigError: a configuration has no such rule, or a rule or threshold is none.
    """
    rules = _rules(policies, thetas, theta_of)
    methods: dict[tuple[str, str], Method] = {}
    for config, data in [(m.config, m.data) for m in compared_methods(configs)]:
        for method in _methods(config, data, rules):
            label = method.label
            if methods.get((data, label), method) != method:
                if method.config.alignment is not None:
                    raise ConfigError(
                        f"two configurations are called {method_label(config)}: give one of each"
                    )
                label = f"{label}-for-{method_label(config)}"
            methods[data, label] = replace(method, label=label)
    return list(methods.values())


def _rules(
    policies: Sequence[str], thetas: Sequence[float], theta_of: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Name of a rule -> the options that make it, the one-way rule first."""
    for name in policies:
        if name not in POLICIES:
            raise unknown_name("rule for directions", name, POLICIES)
    for end in theta_of:
        if end not in get_args(ThetaOf):
            raise unknown_name("end of a direction", end, get_args(ThetaOf))
    for theta in thetas:
        if not -1 <= theta <= 1:
            raise ConfigError(f"threshold {theta:g}: scores are cosines, give numbers of -1 to 1")
    rules: dict[str, dict[str, Any]] = {
        name: {"directions": name} for name in dict.fromkeys((ONE_WAY, *policies))
    }
    for end, theta in itertools.product(theta_of, thetas):
        rule = {"directions": "threshold", "theta": theta, "theta_of": end}
        rules[f"{end}-theta={theta:g}"] = rule
    if len(rules) == 1:
        raise ConfigError("nothing to compare the one-way rule with: give policies or thresholds")
    return rules


def _methods(
    config: RunConfig, data: str, rules: Mapping[str, Mapping[str, Any]]
) -> Iterator[Method]:
    """The backbone alone, and the configuration under every rule."""
    if config.alignment is None or "directions" not in config.alignment.options:
        name = config.alignment.name if config.alignment else "none"
        raise ConfigError(f"alignment '{name}' has no directions: give fettle, cross or ila")
    label = method_label(config)
    yield Method(config.backbone.name, replace(config, alignment=None), data=data)
    for name, rule in rules.items():
        options = {**config.alignment.options, **rule}
        changed = replace(config, alignment=replace(config.alignment, options=options))
        base = None if name == ONE_WAY else f"{label}-{ONE_WAY}"
        yield Method(f"{label}-{name}", changed, base, data)


def direction_report(
    methods: Sequence[Method], results: Sequence[MethodResult], metric: str
) -> DirectionReport:
    """What every rule gives on the test split, from what `run_study` made of the methods."""
    by_name = {(result.data, result.label): result for result in results}
    found = [
        _result(method, by_name, metric)
        for method in methods
        if method.config.alignment is not None
    ]
    return DirectionReport(metric, tuple(found))


def _result(
    method: Method, results: Mapping[tuple[str, str], MethodResult], metric: str
) -> DirectionResult:
    assert method.config.alignment is not None
    options = method.config.alignment.options
    has_theta = options["directions"] == "threshold"
    result = results[method.data, method.label]
    base = results[method.data, method.base].test[metric] if method.base else None
    agreement, decided = _agreement(result.folders)
    return DirectionResult(
        data=method.data,
        method=method_label(method.config),
        label=method.label,
        directions=options["directions"],
        theta=options["theta"] if has_theta else None,
        theta_of=options["theta_of"] if has_theta else None,
        metric=measure(result.test[metric]),
        change=None if base is None else change(result.test[metric], base),
        agreement=agreement,
        decided=decided,
        history=read_direction_history(result.folders),
    )


def _agreement(folders: Sequence[Path]) -> tuple[Measure | None, Measure | None]:
    """Share of the decided directions that are as planted, and of the judged that are decided."""
    summaries = [finished_metrics(folder) for folder in folders]
    judged = [s["directions"] for s in summaries if s.get("directions", {}).get("items")]
    shares = [row["share"] for row in judged if row["share"] is not None]
    decided = [row["decided"] / row["items"] for row in judged]
    return measure(shares) if shares else None, measure(decided) if decided else None
