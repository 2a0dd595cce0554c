"""How plots look, and how a figure becomes inline SVG that follows the colours of the page.

Matplotlib draws with placeholder colours, which are then replaced by the variables of `style.css`.
Series differ by colour (Okabe-Ito, safe for colour-blind readers) and by dash, so that a plot can
also be read in black and white. Text stays text; legends stand beside or below the data.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

_VARIABLES = {"#010101": "ink", "#010102": "muted", "#010103": "line", "#010104": "card"} | {
    f"#0202{index:02x}": f"series-{index}" for index in range(8)
}
INK, MUTED, LINE, CARD, *SERIES = _VARIABLES
DASHES = ("-", "--", ":", "-.")
SHAPES = ("o", "^", "s", "D", "v", "P", "X", "p")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "crossalign",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 10,
}


def legend(figure: Figure, handles: Mapping[str, Line2D], **looks: Any) -> None:
    """A legend below the axes, where it covers no data."""
    usual: dict[str, Any] = {"ncols": 2 if len(handles) < 5 else 3, "handlelength": 2.6}
    figure.legend(
        handles.values(), map(plain, handles), loc="outside lower center", **(usual | looks)
    )


def series_style(index: int, n_points: int) -> dict[str, Any]:
    """Colour and dash of the `index`-th series; a lone point gets a marker to be seen."""
    return {
        "color": SERIES[index % len(SERIES)],
        "linestyle": DASHES[index % len(DASHES)],
        "marker": "o" if n_points == 1 else None,
        "markersize": 4,
    }


def as_svg(figure: Figure, name: str) -> str:
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


def plain(label: str) -> str:
    """`label` without what Matplotlib would read as a formula."""
    return label.replace("$", r"\$")
