"""How plots look, and how a figure becomes inline SVG that follows the colours of the page.

Text stays text; legends stand below the data.
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
    "figure.constrained_layout.h_pad": 0.08,  # exponents of the topmost tick stick out
    "legend.frameon": False,
    "legend.fontsize": 10,
}


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
    for placeholder, variable in VARIABLES.items():
        svg = svg.replace(placeholder, f"var(--{variable})")
    _, box, rest = re.split(r'(viewBox="[^"]*")[^>]*', svg, maxsplit=1)
    return f'<svg role="img" aria-label="{html.escape(name)}" {box}{rest}'


def plain(label: str) -> str:
    """`label` without what Matplotlib would read as a formula."""
    return label.replace("$", r"\$")
