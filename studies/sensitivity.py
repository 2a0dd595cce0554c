"""How much a method depends on its options: one at a time, and two together (FETTLE, Figure 8)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..align import ALIGNERS
from ..config import RunConfig, parse_config, to_plain
from ..errors import ConfigError
from ..report import markup
from ..report.colors import method_style
from ..report.heat_map import heat_map
from ..report.markup import Html
from ..report.numbers import Measure, measure, metric_label
from ..report.plots import Ticks, curve_plot
from ..report.text_table import text_table
from .measures import change, percent
from .methods import Method, method_label, option_value
from .study import MethodResult

ALONE, PRESET = "alone", "preset"
"""Labels of the backbone alone, and of the configuration as it is."""
SECTIONS = ("graph", "neighbors", "backbone", "alignment", "training")
"""What may be varied: options of the method, not of the data or of what is measured."""
_WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_TEMPERATURES = (0.1, 0.2, 0.3, 0.4, 0.5)
USUAL: Mapping[str, tuple[float | int, ...]] = {
    "alignment.ila_weight": _WEIGHTS,
    "alignment.cla_weight": _WEIGHTS,
    "alignment.cna_weight": _WEIGHTS,
    "alignment.weight": _WEIGHTS,
    "alignment.ila_temperature": (0.05, 0.1, 0.15, 0.2, 0.25),
    "alignment.cla_temperature": _TEMPERATURES,
    "alignment.cna_temperature": _TEMPERATURES,
    "alignment.temperature": _TEMPERATURES,
    "alignment.n_prototypes": (64, 256, 1024, 4096),
    "neighbors.k": (1, 3, 5, 10, 15),
}
"""The options of the papers' figures and their values, as far as an alignment has them."""


@dataclass(frozen=True)
class Point:
    """One value of an option, or one pair of values.

    Attributes:
        values: the values as text.
        label: of the method in the study.
        valid: metric on the validation split, which chooses.
        test: metric on the test split.
    """

    values: tuple[str, ...]
    label: str
    valid: Measure
    test: Measure


@dataclass(frozen=True)
class Curve:
    """One option varied, or two together.

    Attributes:
        keys: the options.
        points: all values in order; of two options, the second runs faster.
        change: of the test metric from the configuration as it is to the point that validation
            chooses; None where that configuration was not trained.
    """

    keys: tuple[str, ...]
    points: tuple[Point, ...]
    change: Measure | None

    @property
    def best(self) -> Point:
        """The point that validation chooses."""
        return max(self.points, key=lambda point: point.valid.mean)


@dataclass(frozen=True)
class SensitivityReport:
    """All curves, in one metric.

    Attributes:
        metric: such as `recall@20`.
        method: `backbone` or `backbone+alignment`.
        alone: the metric of the backbone alone on the test split; None without it.
        curves: what was varied.
    """

    metric: str
    method: str
    alone: Measure | None
    curves: tuple[Curve, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """A table for each curve, of at most 80 columns."""
        return [line for curve in self.curves for line in [*self._table(curve), ""]]

    def sections(self) -> list[Html]:
        """Curves and heat maps on the test split."""
        plots = [markup.figure(" × ".join(c.keys), self._plot(c)) for c in self.curves]
        return [markup.section(f"Test {metric_label(self.metric)}", markup.grid(*plots))]

    def _table(self, curve: Curve) -> list[str]:
        head = [" × ".join(curve.keys), f"valid {self.metric}", f"test {self.metric}", ""]
        rows = [
            [
                " × ".join(point.values),
                point.valid.text(),
                point.test.text(),
                ("preset " if point.label == PRESET else "")
                + ("chosen" if point is curve.best else ""),
            ]
            for point in curve.points
        ]
        if self.alone is not None:
            rows.append(["backbone alone", "", self.alone.text(), ""])
        gain = [] if curve.change is None else [f"chosen against preset: {percent(curve.change)}"]
        return [*text_table(head, rows), *gain]

    def _plot(self, curve: Curve) -> Html:
        title = f"{' and '.join(curve.keys)}: {self.metric}"
        if len(curve.keys) == 1:
            ticks = [p.values[0] + "*" * (p.label == PRESET) for p in curve.points]
            series = {"test": [point.test.point for point in curve.points]}
            level = None if self.alone is None else ("backbone alone", self.alone.mean)
            xlabel = curve.keys[0] + ("  (* preset)" if "*" in "".join(ticks) else "")
            ylabel = metric_label(self.metric)
            return curve_plot(
                title,
                series,
                Ticks(xlabel, ticks),
                ylabel=ylabel,
                level=level,
                styles={"test": method_style(self.method)},
            )
        rows, columns = (
            list(dict.fromkeys(p.values[axis] for p in curve.points)) for axis in (0, 1)
        )
        means = {point.values: point.test.mean for point in curve.points}
        grid = [[means.get((row, column), math.nan) for column in columns] for row in rows]
        return heat_map(
            title,
            grid,
            rows,
            columns,
            xlabel=curve.keys[1],
            ylabel=curve.keys[0],
            color=method_style(self.method).color,
        )


Varied = Mapping[tuple[str, ...], Mapping[tuple[str, ...], Method]]
"""Options -> their values as text -> the method with them."""


def usual_options(config: RunConfig) -> Mapping[str, Sequence[Any]]:
    """The options of `USUAL` that the alignment of a configuration has.

    Raises:
        ConfigError: it has no alignment, or one without any of them.
    """
    if config.alignment is None:
        raise ConfigError("no alignment to vary: set one, or name options with --vary")
    entry = ALIGNERS[config.alignment.name]
    names = {f"alignment.{name}" for name in entry.options()}
    if entry.cls.wants_neighbors(config.alignment.options):
        names.add("neighbors.k")
    usual = {key: values for key, values in USUAL.items() if key in names}
    if not usual:
        raise ConfigError(f"alignment '{entry.name}' has no usual options: name some with --vary")
    return usual


def one_at_a_time(config: RunConfig, options: Mapping[str, Sequence[Any]]) -> Varied:
    """Every value of every option, the rest as configured; the configured value takes part.

    Raises:
        ConfigError: there is no such option or value, or nothing to vary.
    """
    varied: dict[tuple[str, ...], dict[tuple[str, ...], Method]] = {}
    for key, values in options.items():
        preset = option_value(config, key, SECTIONS)
        points = [_with_option(config, key, value) for value in values]
        points = [point for point in points if point[0] != preset]
        ordered = sorted([(preset, config), *points], key=lambda point: _sort_key(point[0]))
        if len(ordered) < 2:
            raise ConfigError(f"'{key}' has no value but {_text(preset)}: give others to compare")
        varied[(key,)] = {
            (_text(value),): Method(PRESET, config)
            if value == preset
            else Method(f"{key}={_text(value)}", changed, PRESET)
            for value, changed in ordered
        }
    if not varied:
        raise ConfigError("nothing to vary: name an option and its values")
    return varied


def two_together(config: RunConfig, options: Mapping[str, Sequence[Any]]) -> Varied:
    """Every pair of values of two options.

    Raises:
        ConfigError: there are not two options, or there is no such option or value.
    """
    if len(options) != 2:
        raise ConfigError(f"a heat map takes two options, not {len(options)}: give --grid twice")
    (first, ours), (second, theirs) = options.items()
    methods: dict[tuple[str, ...], Method] = {}
    for a, b in itertools.product(ours, theirs):
        one, changed = _with_option(config, first, a)
        two, changed = _with_option(changed, second, b)
        label = f"{first}={_text(one)},{second}={_text(two)}"
        methods[_text(one), _text(two)] = Method(label, changed)
    return {(first, second): methods}


def sensitivity_methods(config: RunConfig, varied: Varied) -> list[Method]:
    """All methods for `run_study`, each once, and the backbone alone."""
    methods = {method.label: method for points in varied.values() for method in points.values()}
    if config.alignment is None:
        return list(methods.values())
    return [Method(ALONE, replace(config, alignment=None)), *methods.values()]


def sensitivity_report(
    varied: Varied, results: Sequence[MethodResult], metric: str
) -> SensitivityReport:
    """Curves and heat maps from what `run_study` made of the methods."""
    by_label = {result.label: result for result in results}
    alone = measure(by_label[ALONE].test[metric]) if ALONE in by_label else None
    curves = [_curve(keys, points, by_label, metric) for keys, points in varied.items()]
    first = next(method for points in varied.values() for method in points.values())
    return SensitivityReport(metric, method_label(first.config), alone, tuple(curves))


def _curve(
    keys: tuple[str, ...],
    methods: Mapping[tuple[str, ...], Method],
    results: Mapping[str, MethodResult],
    metric: str,
) -> Curve:
    def points() -> Iterator[Point]:
        for values, method in methods.items():
            found = results[method.label]
            valid, test = measure(found.valid[metric]), measure(found.test[metric])
            yield Point(values, method.label, valid, test)

    curve = Curve(keys, tuple(points()), None)
    if PRESET not in {point.label for point in curve.points}:
        return curve
    chosen, preset = (results[label].test[metric] for label in (curve.best.label, PRESET))
    return replace(curve, change=change(chosen, preset))


def _with_option(config: RunConfig, key: str, value: Any) -> tuple[Any, RunConfig]:
    """The value as the configuration understands it, and the configuration with it."""
    option_value(config, key, SECTIONS)
    plain = to_plain(config)
    section, _, name = key.partition(".")
    plain[section][name] = value
    changed = parse_config(plain)
    return option_value(changed, key), changed


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sort_key(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then everything else by its text."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, float(value) if number else 0.0, str(value)
