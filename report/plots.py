"""Plots as inline SVG that follows the colours of the page, light or dark.

Matplotlib draws with placeholder colours, which are then replaced by the variables of `style.css`.
Series differ by colour (Okabe-Ito, safe for colour-blind readers) and by dash, so that a plot can
also be read in black and white. Text stays text; legends stand beside or below the data.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .numbers import mean_and_spread

_VARIABLES = {"#010101": "ink", "#010102": "muted", "#010103": "line", "#010104": "card"} | {
    f"#0202{index:02x}": f"series-{index}" for index in range(8)
}
_INK, _MUTED, _LINE, _CARD, *_SERIES = _VARIABLES
_DASHES = ("-", "--", ":", "-.")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "crossalign",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 10,
}


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


def line_plot(
    name: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    scale: Literal["linear", "magnitudes"] = "linear",
    percent: bool = False,
    mark: Mark | None = None,
) -> str:
    """Lines over epochs, or an empty string if no point is finite.

    Args:
        name: what the plot shows, for screen readers.
        series: label -> x and y values; points that are not finite are left out.
        xlabel: label of the x axis, with its unit.
        ylabel: label of the y axis, with its unit.
        scale: `magnitudes` gives values of different orders of magnitude room: a logarithmic axis,
            linear around zero where some values are not positive.
        percent: y values are shares of one, drawn from 0 to 100 %.
        mark: a point to point out.
    """
    finite = {label: _finite(x, y) for label, (x, y) in series.items()}
    drawn = {label: points for label, points in finite.items() if points[0]}
    if not drawn:
        return ""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.7, 2.9), layout="constrained")
        axes = figure.subplots()
        handles: dict[str, Line2D] = {}
        for index, (label, (x, y)) in enumerate(drawn.items()):
            handles[label] = axes.plot(x, y, **_series_style(index, len(x)))[0]
        if mark is not None:
            style: dict[str, Any] = {"ms": 7, "mfc": _CARD, "mec": _INK, "mew": 1.6}
            handles[mark.label] = axes.plot(mark.x, mark.y, "o", **style)[0]
        if scale == "magnitudes":
            _spread_magnitudes(axes, [value for _, y in drawn.values() for value in y])
        if percent:
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if len(handles) > 1:
            _legend(figure, handles)
        return _svg(figure, name)


def dot_plot(name: str, values: Mapping[str, Sequence[float]], *, xlabel: str) -> str:
    """Mean and standard deviation by row, with the single values behind them.

    Args:
        name: what the plot shows, for screen readers.
        values: row label -> one value per seed; values that are not finite are left out.
        xlabel: label of the x axis, with its unit.
    """
    rows = {label: [v for v in ours if math.isfinite(v)] for label, ours in values.items()}
    if not any(rows.values()):
        return ""
    with matplotlib.rc_context(_STYLE | {"ytick.labelcolor": _INK, "ytick.major.size": 0.0}):
        figure = Figure(figsize=(4.7, 0.8 + 0.36 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for index, ours in enumerate(rows.values()):
            if not ours:
                continue
            mean, spread = mean_and_spread(ours)
            color = _SERIES[index % len(_SERIES)]
            error = spread if math.isfinite(spread) else None
            axes.plot(ours, [index - 0.22] * len(ours), "o", ms=3.5, mfc="none", mec=color)
            axes.errorbar(mean, index, xerr=error, fmt="o", ms=7, color=color, capsize=4, lw=1.8)
        axes.set_yticks(range(len(rows)), list(map(_plain, rows)))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_xlabel(_plain(xlabel))
        return _svg(figure, name)


def _legend(figure: Figure, handles: Mapping[str, Line2D]) -> None:
    """A legend below the axes, where it covers no data."""
    figure.legend(
        handles.values(),
        map(_plain, handles),
        loc="outside lower center",
        ncols=2 if len(handles) < 5 else 3,
        handlelength=2.6,
    )


def _spread_magnitudes(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic y axis, linear around zero where some values are not positive."""
    if min(values) > 0:
        axes.set_yscale("log")
    elif largest := max(map(abs, values)):
        axes.set_yscale("symlog", linthresh=largest / 20)


def _series_style(index: int, n_points: int) -> dict[str, Any]:
    """Colour and dash of the `index`-th series; a lone point gets a marker to be seen."""
    return {
        "color": _SERIES[index % len(_SERIES)],
        "linestyle": _DASHES[index % len(_DASHES)],
        "marker": "o" if n_points == 1 else None,
        "markersize": 4,
    }


def _finite(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points whose coordinates are both finite."""
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _svg(figure: Figure, name: str) -> str:
    """`figure` as an inline SVG element without ids, addresses or fixed colours."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, f"var(--{variable})")
    _, box, rest = re.split(r'(viewBox="[^"]*")[^>]*', svg, maxsplit=1)
    return f'<svg role="img" aria-label="{html.escape(name)}" {box}{rest}'


def _plain(label: str) -> str:
    """`label` without what Matplotlib would read as a formula."""
    return label.replace("$", r"\$")
