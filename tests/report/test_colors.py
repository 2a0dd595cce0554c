"""A method looks the same in every report, and methods that stand side by side look different."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crossalign.align import ALIGNERS
from crossalign.models import BACKBONES
from crossalign.report import colors
from crossalign.report.colors import INK, SERIES, method_style, method_styles, series_style
from crossalign.report.plots import Ticks, curve_plot, dot_plot, line_plot, scatter_plot

STYLE_SHEET = (Path(colors.__file__).parent / "style.css").read_text()
COLOR_BLIND = {  # severity 1 of Machado, Oliveira and Fernandes, IEEE TVCG 2009, on linear RGB
    "nobody": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.9505], [1.0], [1.089]])


def sheet(scheme: str) -> dict[str, str]:
    """Variable -> colour of one of the two sets of the style sheet."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE_SHEET, re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#\w{6})", dark if scheme == "dark" else light))


def linear(color: str) -> np.ndarray:
    part = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(color: str, sight: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(sight @ linear(color), 0, 1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str) -> float:
    """Least difference (CIE 1976) that anybody sees between two colours."""
    return min(
        float(np.linalg.norm(lab(one, sight) - lab(other, sight))) for sight in COLOR_BLIND.values()
    )


def contrast(one: str, other: str) -> float:
    high, low = sorted((float(TO_XYZ[1] @ linear(c)) + 0.05 for c in (one, other)), reverse=True)
    return high / low


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stay_apart_for_everyone_and_show_on_the_page(scheme: str) -> None:
    """A difference of 2 can just be seen; 13 is more than enough between lines and points."""
    named = sheet(scheme)
    series = [named[colors.VARIABLES[placeholder]] for placeholder in SERIES]
    assert min(distance(a, b) for a, b in itertools.combinations(series, 2)) > 13
    assert min(contrast(color, named["card"]) for color in series) > 2


def test_listed_methods_are_registered_and_all_look_different() -> None:
    """What is not listed has a style by its name, which may be another's; never in one plot."""
    assert set(colors.BACKBONES) <= set(BACKBONES.names())
    assert set(colors.ALIGNMENTS) <= {"none", *ALIGNERS.names()}
    names = ["", *(f"+{name}" for name in colors.ALIGNMENTS if name != "none")]
    methods = [backbone + name for backbone in colors.BACKBONES for name in names]
    assert len({method_style(method) for method in methods}) == len(methods)
    assert len({method_style(f"lightgcn{name}").color for name in names}) == len(names)


def test_colour_says_the_alignment_and_the_rest_the_backbone() -> None:
    one, other = method_style("lightgcn+cross"), method_style("freedom+cross")
    assert one.color == other.color
    assert (one.dash, one.marker) != (other.dash, other.marker)
    alone = method_style("lightgcn")
    assert alone.color == SERIES[colors.ALIGNMENTS["none"]]
    assert (alone.dash, alone.marker) == (one.dash, one.marker)


@pytest.mark.parametrize(
    "label",
    ["lightgcn + cross", "lightgcn+CROSS", "lightgcn+cross-dynamic",
     "lightgcn+cross-noisy_content-0.1", "lightgcn+cross-shuffled"],
)  # fmt: skip
def test_a_method_is_known_by_any_label_that_a_study_gives_it(label: str) -> None:
    assert method_style(label) == method_style("lightgcn+cross")


def test_what_is_registered_later_has_its_style_by_its_name_in_every_process() -> None:
    ask = "from crossalign.report.colors import method_style as s; print(s('mine+my_alignment'))"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    style = method_style("mine+my_alignment")
    assert told.stdout.strip() == str(style)
    assert style.color != method_style("mine").color


def test_series_of_one_method_keep_its_colour_and_differ_otherwise() -> None:
    styles = method_styles({"a": "bpr+fettle", "b": "bpr+cross", "c": "bpr+fettle"})
    assert styles["a"] == method_style("bpr+fettle")
    assert styles["b"] == method_style("bpr+cross")
    assert styles["c"].color == styles["a"].color
    assert styles["c"] != styles["a"]
    crowd = method_styles({str(i): "bpr" for i in range(40)})
    assert len(set(crowd.values())) == 32


def look(svg: str, color: str) -> bool:
    return f"var(--{colors.VARIABLES[color]})" in svg


def test_plots_take_the_style_whoever_else_is_in_the_picture() -> None:
    """`lightgcn+cross` alone and behind two others, as a line, a dot and a curve."""
    cross = method_style("lightgcn+cross")
    for methods in (["lightgcn+cross"], ["bpr", "lightgcn+fettle", "lightgcn+cross"]):
        styles = method_styles({method: method for method in methods})
        axes = {"xlabel": "x", "ylabel": "y", "styles": styles}
        line = line_plot("p", {m: ([1, 2], [1, 2]) for m in methods}, **axes)
        points = {m: [(1.0, 0.1), (2.0, 0.1)] for m in methods}
        curve = curve_plot("p", points, Ticks("x", ["a", "b"]), ylabel="y", styles=styles)
        dots = dot_plot("p", {m: [1.0, 2.0] for m in methods}, xlabel="x", styles=styles)
        points = scatter_plot("p", {m: ([1], [2]) for m in methods}, **axes)
        for svg in (line, curve, dots, points):
            assert look(svg, cross.color)
            assert len(set(re.findall(r"var\(--(series-\d+)\)", svg))) == len(methods)


def test_the_level_of_a_curve_has_the_colour_of_its_method_or_ink() -> None:
    fettle = method_style("bpr+fettle")
    for styles, color in (({"a": fettle, "one-way": series_style(4)}, SERIES[4]), (None, INK)):
        svg = curve_plot(
            "p", {"a": [(1.0, 0.1)]}, Ticks("x", ["1"]), ylabel="y", level=("one-way", 0.5),
            styles=styles,
        )  # fmt: skip
        pattern = r"stroke-dasharray: ([\d.]+),[^\"]*stroke: (var\(--[\w-]+\)); stroke-width: \1"
        dotted = {stroke for _, stroke in re.findall(pattern, svg)}  # dots as long as wide
        assert dotted == {f"var(--{colors.VARIABLES[color]})"}
