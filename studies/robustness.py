"""What methods lose when content is missing or wrong, or feedback is noise or gone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from ..components import reads_content
from ..config import RunConfig
from ..datasets.options import CorruptionKind
from ..errors import ConfigError, unknown_name
from ..report import markup
from ..report.colors import method_styles
from ..report.markup import Html
from ..report.numbers import Measure, measure, metric_label
from ..report.plots import Ticks, curve_plot
from ..report.text_table import text_table
from .measures import change, percent, refuse_repeats
from .methods import Method, compared_methods, method_label
from .study import MethodResult

CORRUPTIONS: tuple[CorruptionKind, ...] = tuple(c for c in get_args(CorruptionKind) if c != "none")
CONTENT = ("missing_content", "noisy_content")
"""Corruptions that only a method which reads content can notice."""
FEEDBACK = tuple(kind for kind in CORRUPTIONS if kind not in CONTENT)
RATIOS = (0.05, 0.1, 0.15, 0.2)


@dataclass(frozen=True)
class RobustnessPoint:
    """A method under one corruption at one ratio.

    Attributes:
        data: name of the data set in a study of several.
        method: `backbone` or `backbone+alignment`.
        corruption: what is corrupted.
        ratio: how much of it; 0 for the clean data.
        label: of the method in the study.
        metric: on the test split.
        change: relative change against the same method on clean data; None at ratio 0.
        gain: relative gain over the backbone alone under the same corruption; None for the
            backbone itself, or where it was not trained.
    """

    data: str
    method: str
    corruption: CorruptionKind
    ratio: float
    label: str
    metric: Measure
    change: Measure | None
    gain: Measure | None


@dataclass(frozen=True)
class RobustnessReport:
    """All corruptions, in one metric."""

    metric: str
    points: tuple[RobustnessPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """A table for each corruption, of at most 80 columns."""
        return [line for c in self._corruptions() for line in [*self._table(c), ""]]

    def sections(self) -> list[Html]:
        """The metric, and its change against clean data, over the ratios."""
        return [
            markup.section(
                f"{corruption.replace('_', ' ').capitalize()}{f' on {data}' if data else ''}",
                markup.grid(*self._plots(data, corruption)),
            )
            for data in dict.fromkeys(point.data for point in self.points)
            for corruption in self._corruptions()
        ]

    def _corruptions(self) -> list[CorruptionKind]:
        return list(dict.fromkeys(point.corruption for point in self.points))

    def _table(self, corruption: CorruptionKind) -> list[str]:
        head = [
            corruption.replace("_", " "),
            "ratio",
            f"test {self.metric}",
            "vs clean",
            "vs alone",
        ]
        rows = [
            [
                f"{point.data} {point.method}".strip() if point.ratio == 0 else "",
                f"{point.ratio:g}",
                point.metric.text(),
                percent(point.change),
                percent(point.gain and replace(point.gain, spread=None)),
            ]
            for point in self.points
            if point.corruption == corruption
        ]
        return text_table(head, rows)

    def _plots(self, data: str, corruption: CorruptionKind) -> Iterator[Html]:
        ours = [p for p in self.points if (p.data, p.corruption) == (data, corruption)]
        methods = dict.fromkeys(point.method for point in ours)
        ratios = list(dict.fromkeys(point.ratio for point in ours))
        ticks = [f"{ratio:.0%}" for ratio in ratios]
        of = "training pairs" if corruption.endswith("feedback") else "rows of each modality"
        label = metric_label(self.metric)
        values = {m: [p.metric.point for p in ours if p.method == m] for m in methods}
        changes = {m: [_changed(p) for p in ours if p.method == m] for m in methods}
        for title, ylabel, series in (
            (label, label, values),
            (f"{label} against clean data", "relative change", changes),
        ):
            svg = curve_plot(
                f"{title} under {corruption}",
                series,
                Ticks(f"share of {of}", ticks),
                ylabel=ylabel,
                percent=series is changes,
                styles=method_styles({method: method for method in methods}),
            )
            yield markup.figure(title, svg)


def robustness_methods(
    configs: Sequence[RunConfig],
    corruptions: Sequence[str] = CORRUPTIONS,
    ratios: Sequence[float] = RATIOS,
) -> list[Method]:
    """Every configuration on clean data and under every corruption, for `run_study`.

    A method is compared with the backbone alone under the same corruption, if that takes part.
    Content is corrupted only for methods that read it. Ready item graphs and neighbour files are
    left out throughout: all graphs and neighbours come from the data at hand.

    Args:
        configs: what to compare.
        corruptions: names of `CORRUPTIONS`.
        ratios: shares, above 0 and below 1; clean data are always trained on.

    Raises:
        ConfigError: a corruption is unknown, a ratio out of range, or a configuration corrupts
            or controls the data itself.
    """
    refuse_repeats("corruptions", corruptions)
    refuse_repeats("ratios", ratios)
    for name in corruptions:
        if name not in CORRUPTIONS:
            raise unknown_name("corruption", name, CORRUPTIONS)
    for ratio in ratios:
        if not 0 < ratio < 1:
            raise ConfigError(f"ratio {ratio:g}: give shares above 0 and below 1, clean is added")
    compared = compared_methods(configs)
    for kind in corruptions:
        if not any(_notices(method.config, kind) for method in compared):
            raise ConfigError(
                f"no method reads content, so {kind} changes nothing: add an alignment or a "
                f"backbone that does, or leave it out, as --corruptions {','.join(FEEDBACK)} does"
            )
    found = [m for m in compared for m in _methods(m, corruptions, sorted(ratios))]
    known = {(method.data, method.label) for method in found}
    return [m if (m.data, m.base) in known else replace(m, base=None) for m in found]


def _methods(
    method: Method, corruptions: Sequence[str], ratios: Sequence[float]
) -> Iterator[Method]:
    config = method.config
    if config.data.corruption != "none" or config.data.content != "given":
        raise ConfigError(
            f"{method.label} changes its data already: leave data.corruption and data.content out"
        )
    neighbors = replace(config.neighbors, file=None)
    clean = replace(config, neighbors=neighbors, data=replace(config.data, item_graphs=False))
    alone = replace(clean, alignment=None)
    yield replace(method, config=clean)
    for kind in (kind for kind in CORRUPTIONS if kind in corruptions):
        for ratio in ratios if _notices(clean, kind) else ():
            data = replace(clean.data, corruption=kind, corruption_ratio=ratio)
            base = _label(alone, kind, ratio) if method.base is not None else None
            yield Method(_label(clean, kind, ratio), replace(clean, data=data), base, method.data)


def robustness_report(
    methods: Sequence[Method], results: Sequence[MethodResult], metric: str
) -> RobustnessReport:
    """Changes against clean data on the test split, from what `run_study` made of the methods.

    A method that cannot notice a corruption stands there with its result on clean data.
    """
    by_name = {(result.data, result.label): result for result in results}
    kinds = dict.fromkeys(m.config.data.corruption for m in methods)
    ratios = sorted({m.config.data.corruption_ratio for m in methods})
    clean = [method for method in methods if method.config.data.corruption == "none"]
    points = [
        _point(method, kind, ratio, by_name, metric)
        for kind in kinds
        if kind != "none"
        for method in clean
        for ratio in ratios
    ]
    return RobustnessReport(metric, tuple(points))


def _point(
    method: Method,
    kind: CorruptionKind,
    ratio: float,
    results: Mapping[tuple[str, str], MethodResult],
    metric: str,
) -> RobustnessPoint:
    label = _label(method.config, kind, ratio)
    values = results[method.data, label].test[metric]
    base = results.get((method.data, _label(replace(method.config, alignment=None), kind, ratio)))
    gain = base and method.base and change(values, base.test[metric])
    return RobustnessPoint(
        data=method.data,
        method=method_label(method.config),
        corruption=kind,
        ratio=ratio,
        label=label,
        metric=measure(values),
        change=change(values, results[method.data, method.label].test[metric]) if ratio else None,
        gain=gain or None,
    )


def _label(config: RunConfig, kind: str, ratio: float) -> str:
    """Of the method in the study: that on clean data where the corruption makes no difference."""
    label = method_label(config)
    return f"{label}-{kind}-{ratio:g}" if ratio and _notices(config, kind) else label


def _notices(config: RunConfig, kind: str) -> bool:
    """Whether a corruption makes any difference to a method."""
    return kind not in CONTENT or reads_content(config)


def _changed(point: RobustnessPoint) -> tuple[float, float]:
    """The change as plots take it; none at ratio 0."""
    if point.ratio == 0:
        return 0.0, math.nan
    return (math.nan, math.nan) if point.change is None else point.change.point
