"""Plots: what is drawn, left out and pointed out."""

from __future__ import annotations

import math
import re

import pytest

from crossalign.report.plots import dot_plot, line_plot


def lines(svg: str) -> int:
    """Number of drawn data series, by colour."""
    return len(set(re.findall(r"stroke: var\(--(series-\d)\)", svg)))


def test_every_series_has_its_colour_and_a_label():
    series = {f"term {i}": ([1, 2, 3], [0.1 * i, 0.2, 0.3]) for i in range(1, 9)}
    svg = line_plot("plot", series, xlabel="epoch", ylabel="loss")
    assert lines(svg) == 8
    assert all(f">term {i}<" in svg for i in range(1, 9))
    assert ">epoch<" in svg
    assert ">loss<" in svg


@pytest.mark.parametrize("values", [[], [math.nan, math.inf]])
def test_nothing_to_draw_gives_no_plot(values):
    series = {"term": (range(len(values)), values)}
    assert line_plot("plot", series, xlabel="x", ylabel="y") == ""
    assert dot_plot("plot", {"method": values}, xlabel="x") == ""


@pytest.mark.parametrize("values", [[1e-6, 1.0], [-1e-3, 0.0, 1.0], [0.0, 0.0], [5.0]])
def test_terms_of_any_magnitude_and_sign_are_drawn(values):
    series = {"term": (range(len(values)), values)}
    assert lines(line_plot("plot", series, xlabel="x", ylabel="y", scale="magnitudes")) == 1


def test_a_dot_plot_has_a_row_per_method_even_without_numbers():
    values = {"alone": [0.1, 0.12], "one seed": [0.2], "failed": [math.nan]}
    svg = dot_plot("plot", values, xlabel="Recall@20")
    assert all(f">{name}<" in svg for name in values)
    assert lines(svg) == 2


def test_text_is_escaped():
    svg = line_plot(
        'a "b" <c>', {"<d> & e": ([1, 2], [1, 2])}, xlabel="x<y", ylabel="$y$", mark=None
    )
    assert 'aria-label="a &quot;b&quot; &lt;c&gt;"' in svg
    assert "<c>" not in svg
    assert "<d>" not in svg


def test_dollar_signs_and_leading_underscores_in_labels_are_plain_text():
    """Matplotlib reads $...$ as a formula and hides labels that start with an underscore."""
    series = {"_hidden": ([1, 2], [1, 2]), "$\\bad{": ([1, 2], [2, 3])}
    svg = line_plot("plot", series, xlabel="epoch", ylabel="loss")
    assert ">_hidden<" in svg
    assert ">$\\bad{<" in svg
