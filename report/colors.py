"""Who has which colour: a method looks the same in every report, whatever stands beside it.

Colour says the alignment, dash and marker the backbone. Matplotlib draws with placeholder colours,
which `svg` replaces by the variables of `style.css`, one set for light pages and one for dark ones.
They are Okabe and Ito's, with grey, ink and three more that stay apart for colour-blind readers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VARIABLES: Mapping[str, str] = {
    "#010101": "ink",
    "#010102": "muted",
    "#010103": "line",
    "#010104": "card",
    **{f"#0202{index:02x}": f"series-{index}" for index in range(11)},
}
"""Placeholder -> variable of `style.css`."""
INK, MUTED, LINE, CARD, *SERIES = VARIABLES
DASHES = ("-", "--", ":", "-.")
SHAPES = ("o", "^", "s", "D", "v", "P", "X", "p")

ALIGNMENTS: Mapping[str, int] = {
    "none": 7,
    "bm3": 4,
    "fettle": 0,
    "cross": 1,
    "infonce": 2,
    "alignrec": 3,
    "ila": 5,
    "cla": 8,
    "cna": 9,
    "composed": 6,
}
"""Alignment -> its colour, as index of `SERIES`."""
_OTHERS = (10, 5, 8, 9)
"""Colours among which an alignment that is not listed has one by its name."""
BACKBONES = (
    "lightgcn",
    "bpr",
    "freedom",
    "vbpr",
    "sgl",
    "directau",
    "ncl",
    "grcn",
    "dualgnn",
    "slmrec",
    "lattice",
    "bm3",
    "alignrec",
    "crane",
    "crane_released",
    "smore",
    "lgmrec",
    "mmgcn",
)
"""Backbones in the order in which they take dashes and markers; others have theirs by name."""
_N_LOOKS = len(DASHES) * len(SHAPES)


@dataclass(frozen=True)
class Style:
    """How one series looks.

    Attributes:
        color: placeholder of its colour.
        dash: of its line, as Matplotlib writes it.
        marker: shape of its points, likewise.
    """

    color: str
    dash: str
    marker: str

    def line(self, n_points: int) -> dict[str, Any]:
        """Arguments of Matplotlib for a line; a lone point gets its marker to be seen."""
        marker = self.marker if n_points == 1 else None
        return {"color": self.color, "linestyle": self.dash, "marker": marker, "markersize": 3}


def series_style(index: int) -> Style:
    """Style of the `index`-th of several series that are no methods, such as loss terms."""
    return Style(
        SERIES[index % len(SERIES)], DASHES[index % len(DASHES)], SHAPES[index % len(SHAPES)]
    )


def method_style(method: str) -> Style:
    """Style of `backbone` or `backbone+alignment`, whatever follows behind a hyphen."""
    return _style(*_color_and_look(method))


def method_styles(methods: Mapping[str, str]) -> dict[str, Style]:
    """Styles of the series of one plot, by label; no two alike, as far as there are styles.

    Args:
        methods: label -> method. Labels of the same method keep its colour and differ in dash and
            marker, of which the first one has the method's own.
    """
    taken: set[tuple[int, int]] = set()
    styles = {}
    for label, method in methods.items():
        color, first = _color_and_look(method)
        looks = ((first + step) % _N_LOOKS for step in range(_N_LOOKS))
        look = next((look for look in looks if (color, look) not in taken), first)
        taken.add((color, look))
        styles[label] = _style(color, look)
    return styles


def _color_and_look(method: str) -> tuple[int, int]:
    """Indices of the colour, and of the pair of dash and marker."""
    backbone, _, alignment = (
        part.partition("-")[0].strip().lower() for part in method.partition("+")
    )
    color = ALIGNMENTS.get(alignment or "none")
    if color is None:
        color = _OTHERS[_number(alignment) % len(_OTHERS)]
    known = backbone in BACKBONES
    return color, BACKBONES.index(backbone) if known else _number(backbone) % _N_LOOKS


def _style(color: int, look: int) -> Style:
    """Every pair of dash and marker has its own `look`, and neighbours differ in both."""
    dash = (look + look // len(SHAPES)) % len(DASHES)
    return Style(SERIES[color], DASHES[dash], SHAPES[look % len(SHAPES)])


def _number(name: str) -> int:
    """A number that depends on a name alone, the same in every process."""
    return zlib.crc32(name.encode())
