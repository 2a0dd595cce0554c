"""Curves over the values of an option, and heat maps of two."""

from __future__ import annotations

import math
import re

from crossalign.report.heat_map import heat_map
from crossalign.report.plots import Ticks, curve_plot

AXES = {"xlabel": "weight", "ylabel": "Recall@20"}


def test_curves_have_labels_ticks_and_a_level() -> None:
    series = {"one": [(0.1, 0.01), (0.2, math.nan)], "two": [(0.3, 0.0), (math.nan, math.nan)]}
    svg = curve_plot(
        "plot", series, Ticks("weight", ["1e-3", "all"]), level=("alone", 0.15), ylabel="Recall@20"
    )
    for text in ("one", "two", "alone", "1e-3", "all", "weight", "Recall@20"):
        assert f">{text}<" in svg
    assert len(set(re.findall(r"stroke: var\(--(series-\d)\)", svg))) == 2


def test_long_labels_stand_below_each_other() -> None:
    """So that none is cut at the edge of the figure."""
    heights = []
    for length in (5, 40):
        series = {f"{index}{'x' * length}": [(0.1, 0.0)] for index in range(4)}
        svg = curve_plot("plot", series, Ticks("weight", ["a"]), ylabel="Recall@20")
        heights.append(float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1]))
    assert heights[0] < heights[1]


def test_nothing_to_draw_gives_no_plot() -> None:
    assert curve_plot("plot", {"one": [(math.nan, 0.0)]}, Ticks("weight", ["a"]), ylabel="") == ""
    assert heat_map("plot", [[math.nan]], ["a"], ["b"], **AXES) == ""


def test_a_heat_map_is_deeper_where_values_are_higher_and_leaves_gaps() -> None:
    values = [[0.1, 0.2], [math.nan, 0.3]]
    svg = heat_map("plot", values, ["low", "high"], ["few", "many"], **AXES)
    assert [f">{value:.4f}<" in svg for value in (0.1, 0.2, 0.3)] == [True] * 3
    depths = [float(depth) for depth in re.findall(r"fill-opacity: ([\d.]+)", svg)]
    assert len(depths) == 3
    assert depths == sorted(depths)
    assert svg.count("stroke: var(--ink)") == 1  # the highest is framed
