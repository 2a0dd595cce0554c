"""A grid of numbers as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from .colors import INK, SERIES
from .markup import Html
from .svg import STYLE, UNIT, as_svg, new_figure, plain


def heat_map(
    name: str,
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    color: str = SERIES[0],
) -> Html:
    """A grid of numbers: the deeper a cell, the higher; the highest is framed.

    One hue in several strengths, with the number in every cell, needs neither colour vision nor a
    legend.

    Args:
        name: what the plot shows, for screen readers.
        values: one row for each of `rows`, one value for each of `columns`; NaN leaves a gap.
        rows: values of the option of the y axis, as text, from the top.
        columns: values of the option of the x axis, as text.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        color: of the cells, one of `colors.SERIES`.
    """
    finite = [value for row in values for value in row if math.isfinite(value)]
    if not finite:
        return Html("")
    low, high = min(finite), max(finite)
    with matplotlib.rc_context(STYLE | {"axes.grid": False, "axes.spines.left": False}):
        figure = new_figure(0.9 + 0.42 * len(rows))
        axes = figure.subplots()
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if not math.isfinite(value):
                    continue
                depth = (value - low) / (high - low) if high > low else 0.0
                cell = Rectangle((x - 0.48, y - 0.46), 0.96, 0.92)
                cell.set_facecolor(to_rgba(color, 0.05 + 0.5 * depth))
                if value == high:
                    cell.set(edgecolor=INK, linewidth=1.8 * UNIT, zorder=2)
                axes.add_patch(cell)
                text = axes.text(x, y, f"{value:.4f}", ha="center", va="center", zorder=3)
                text.set_fontsize(9 * UNIT)
        axes.set_xticks(range(len(columns)), list(map(plain, columns)))
        axes.set_yticks(range(len(rows)), list(map(plain, rows)))
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        axes.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
        return as_svg(figure, name)
