"""Plots as inline SVG: lines over epochs, dots by method, curves, and maps of points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .colors import CARD, INK, Style, series_style
from .markup import Html
from .numbers import measure
from .svg import STYLE, UNIT, as_svg, legend, new_figure, plain

Scale = Literal["linear", "magnitudes", "percent"]


@dataclass(frozen=True)
class Mark:
    """A point to point out.

    Attributes:
        x: its epoch.
        y: its value.
        label: what to call it in the legend.
    """

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Ticks:
    """The x axis of an option.

    Attributes:
        label: of the axis, with its unit.
        values: of the option, as text.
    """

    label: str
    values: Sequence[str]


def line_plot(
    name: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    scale: Scale = "linear",
    mark: Mark | None = None,
    styles: Mapping[str, Style] | None = None,
) -> Html:
    """Lines over epochs, or an empty string if no point is finite.

    Args:
        name: what the plot shows, for screen readers.
        series: label -> x and y values; points that are not finite are left out.
        xlabel: label of the x axis, with its unit.
        ylabel: label of the y axis, with its unit.
        scale: `magnitudes` gives values of different orders of magnitude room: a logarithmic axis,
            linear around zero where some values are not positive. `percent` draws shares of one
            from 0 to 100 %.
        mark: a point to point out.
        styles: label -> style; by default in the order of the series.
    """
    finite = {label: _finite(x, y) for label, (x, y) in series.items()}
    drawn = {label: points for label, points in finite.items() if points[0]}
    if not drawn:
        return Html("")
    with matplotlib.rc_context(STYLE):
        figure = new_figure(2.9)
        axes = figure.subplots()
        handles: dict[str, Line2D] = {}
        looks = styles or _in_order(drawn)
        for label, (x, y) in drawn.items():
            handles[label] = axes.plot(x, y, **looks[label].line(len(x)))[0]
        if mark is not None:
            style: dict[str, Any] = {"ms": 7 * UNIT, "mfc": CARD, "mec": INK, "mew": 1.6 * UNIT}
            handles[mark.label] = axes.plot(mark.x, mark.y, "o", **style)[0]
        if scale == "magnitudes":
            _spread_magnitudes(axes, [value for _, y in drawn.values() for value in y])
        if scale == "percent":
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if len(handles) > 1:
            legend(figure, handles)
        return as_svg(figure, name)


def dot_plot(
    name: str,
    values: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    styles: Mapping[str, Style] | None = None,
) -> Html:
    """Mean and standard deviation by row, with the single values behind them.

    Args:
        name: what the plot shows, for screen readers.
        values: row label -> one value per seed; values that are not finite are left out.
        xlabel: label of the x axis, with its unit.
        styles: row label -> style; by default in the order of the rows.
    """
    looks = styles or _in_order(values)
    rows = {label: [v for v in ours if math.isfinite(v)] for label, ours in values.items()}
    if not any(rows.values()):
        return Html("")
    with matplotlib.rc_context(STYLE | {"ytick.labelcolor": INK, "ytick.major.size": 0.0}):
        figure = new_figure(0.8 + 0.36 * len(rows))
        axes = figure.subplots()
        for index, (label, ours) in enumerate(rows.items()):
            if not ours:
                continue
            at = measure(ours)
            color, marker = looks[label].color, looks[label].marker
            axes.plot(ours, [index - 0.22] * len(ours), "o", ms=3.5 * UNIT, mfc="none", mec=color)
            bar: dict[str, Any] = {"ms": 7 * UNIT, "capsize": 4 * UNIT, "lw": 1.8 * UNIT}
            axes.errorbar(at.mean, index, xerr=at.spread, fmt=marker, color=color, **bar)
        axes.set_yticks(range(len(rows)), list(map(plain, rows)))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        room = 5 if max(map(len, rows)) < 20 else 3  # long labels leave little width
        axes.xaxis.set_major_locator(MaxNLocator(nbins=room))
        axes.set_xlabel(plain(xlabel))
        return as_svg(figure, name)


def curve_plot(
    name: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    ticks: Ticks,
    *,
    ylabel: str,
    percent: bool = False,
    level: tuple[str, float] | None = None,
    styles: Mapping[str, Style] | None = None,
) -> Html:
    """Means over the values of an option, each with its standard deviation, evenly spaced.

    Args:
        name: what the plot shows, for screen readers.
        series: label -> mean and standard deviation at every tick; a mean that is not finite is
            left out, a deviation that is not is not drawn.
        ticks: the option and its values.
        ylabel: label of the y axis, with its unit.
        percent: y values are shares of one.
        level: label and value of a line across, to compare with.
        styles: label -> style, of the level too; by default in the order of the series.

    Returns:
        SVG, or an empty string if there is no point.
    """
    if not any(math.isfinite(mean) for points in series.values() for mean, _ in points):
        return Html("")
    with matplotlib.rc_context(STYLE):
        n_columns = max(1, min(3, 66 // (8 + max(map(len, series)))))  # as wide as the figure
        n_rows = math.ceil((len(series) + (level is not None)) / n_columns)
        height = 2.9 + 0.22 * max(n_rows - 2, 0)
        figure = new_figure(height)
        axes = figure.subplots()
        handles: dict[str, Line2D] = {}
        looks = styles or _in_order(series)
        beside = min(0.05, 0.3 / len(series))  # so that error bars do not hide each other
        for index, (label, points) in enumerate(series.items()):
            places = [x + beside * (index - (len(series) - 1) / 2) for x in range(len(points))]
            style = looks[label].line(1)
            bars = [spread if math.isfinite(spread) else 0.0 for _, spread in points]
            means = [mean for mean, _ in points]
            drawn = axes.errorbar(places, means, bars, capsize=3 * UNIT, elinewidth=UNIT, **style)
            handles[label] = drawn.lines[0]
        if level is not None:
            color = looks[level[0]].color if level[0] in looks else INK
            handles[level[0]] = axes.axhline(
                level[1], color=color, linestyle=":", linewidth=1.2 * UNIT
            )
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xticks(range(len(ticks.values)), list(map(plain, ticks.values)))
        axes.set_xlim(-0.3, len(ticks.values) - 0.7)
        axes.set(xlabel=plain(ticks.label), ylabel=plain(ylabel))
        if len(handles) > 1:
            legend(figure, handles, ncols=n_columns)
        return as_svg(figure, name)


def scatter_plot(
    name: str,
    groups: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    styles: Mapping[str, Style] | None = None,
    logarithmic: bool = False,
    is_map: bool = False,
) -> Html:
    """Points of several groups, or an empty string if no point is finite.

    Groups differ by colour and by the shape of their points.

    Args:
        name: what the plot shows, for screen readers.
        groups: label -> x and y values; points that are not finite are left out.
        xlabel: label of the x axis, with its unit.
        ylabel: label of the y axis, with its unit.
        styles: label -> style; by default in the order of the groups.
        logarithmic: scale of the x axis.
        is_map: only distances mean something: both axes have one scale, without numbers.
    """
    finite = {label: _finite(x, y) for label, (x, y) in groups.items()}
    drawn = {label: points for label, points in finite.items() if points[0]}
    if not drawn:
        return Html("")
    with matplotlib.rc_context(STYLE):
        figure = new_figure(4.6 if is_map else 2.9)
        axes = figure.subplots()
        handles: dict[str, Line2D] = {}
        looks = styles or _in_order(drawn)
        for label, (x, y) in drawn.items():
            style: dict[str, Any] = {"color": looks[label].color, "mew": 0, "alpha": 0.7}
            size = UNIT * (3.6 if is_map else 5)
            handles[label] = axes.plot(x, y, looks[label].marker, ms=size, **style)[0]
        axes.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
        if logarithmic:
            axes.set_xscale("log")
        if is_map:
            axes.set(xticks=[], yticks=[])
            axes.set_aspect("equal", adjustable="datalim")
        if len(handles) > 1 or is_map:
            legend(figure, handles, ncols=min(len(handles), 4), handlelength=1, markerscale=1.8)
        return as_svg(figure, name)


def _in_order(labels: Iterable[str]) -> dict[str, Style]:
    return {label: series_style(index) for index, label in enumerate(labels)}


def _spread_magnitudes(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic y axis, linear around zero where some values are not positive."""
    if min(values) > 0:
        axes.set_yscale("log")
    elif largest := max(map(abs, values)):
        # a power of ten, since a tick stands there and the next one at zero
        axes.set_yscale("symlog", linthresh=10.0 ** math.floor(math.log10(largest / 20)))


def _finite(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points whose coordinates are both finite."""
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    return [a for a, _ in pairs], [b for _, b in pairs]
