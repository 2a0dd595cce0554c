"""How plots look, and how a figure becomes inline SVG that follows the colours of the page.

Figures are as wide as a column of a paper. Text stays text; legends stand below the data.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .colors import INK, LINE, MUTED, VARIABLES
from .markup import Html

WIDTH = 3.35
"""Inches; a page shows a plot as wide as there is room."""
UNIT = WIDTH / 4.7
"""What one point of a size below comes to; sizes are chosen for a page, where plots are wider."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "crossalign",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.size": 10.5 * UNIT,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6 * UNIT,
    "axes.linewidth": 0.8 * UNIT,
    "axes.labelpad": 4 * UNIT,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    **{f"{axis}tick.major.{name}": 3.5 * UNIT for axis in "xy" for name in ("size", "pad")},
    **{f"{axis}tick.major.width": 0.8 * UNIT for axis in "xy"},
    **{f"{axis}tick.minor.size": 2 * UNIT for axis in "xy"},
    **{f"{axis}tick.minor.width": 0.6 * UNIT for axis in "xy"},
    "lines.linewidth": 1.6 * UNIT,
    "figure.constrained_layout.h_pad": 0.15 * UNIT,  # exponents of the topmost tick stick out
    "figure.constrained_layout.w_pad": 0.04 * UNIT,
    "legend.frameon": False,
    "legend.fontsize": 10 * UNIT,
}


class Plot(Html):
    """An inline SVG element, with what draws it anew for a file.

    Attributes:
        figure: the figure, in the placeholder colours of `colors`.
        name: what it shows.
    """

    figure: Figure
    name: str

    @property
    def plots(self) -> tuple[Html, ...]:
        """Itself: it is a page's only plot."""
        return (self,)


def new_figure(height: float) -> Figure:
    """A figure as wide as a column; the height is that of one 4.7 wide."""
    return Figure(figsize=(WIDTH, height * UNIT), layout="constrained")


def legend(figure: Figure, handles: Mapping[str, Line2D], **looks: Any) -> None:
    """A legend below the axes, where it covers no data."""
    in_one_row = len(handles) == 3 and len("".join(handles)) < 32
    usual: dict[str, Any] = {
        "ncols": 3 if in_one_row or len(handles) > 4 else 2,
        "handlelength": 2.6,
    }
    figure.legend(
        handles.values(), map(plain, handles), loc="outside lower center", **(usual | looks)
    )


def as_svg(figure: Figure, name: str) -> Plot:
    """`figure` as an inline SVG element without ids, addresses or fixed colours."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for placeholder, variable in VARIABLES.items():
        svg = svg.replace(placeholder, f"var(--{variable})")
    _, box, rest = re.split(r'(viewBox="[^"]*")[^>]*', svg, maxsplit=1)
    plot = Plot(f'<svg role="img" aria-label="{html.escape(name)}" {box}{rest}')
    plot.figure, plot.name = figure, name
    return plot


def plain(label: str) -> str:
    """`label` without what Matplotlib would read as a formula."""
    return label.replace("$", r"\$")
