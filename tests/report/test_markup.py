"""Pieces of pages: what may be broken into lines, and what may not."""

from __future__ import annotations

import math

import pytest

from crossalign.report import markup
from crossalign.report.numbers import number


def test_paths_break_behind_their_separators_only() -> None:
    broken = markup.breakable("a+b/seed<0>")
    assert broken == "a+<wbr>b/<wbr>seed&lt;0&gt;"
    assert markup.link("a/b", "a/b") == '<a href="a/b">a/<wbr>b</a>'


def test_names_of_options_stay_whole_in_commands() -> None:
    """A browser would break a line between their two hyphens."""
    text = markup.code("crossalign train --set a=<b> --mask-modality --out a--b")
    assert text == (
        "<pre>crossalign train <span>--set</span> a=&lt;b&gt; <span>--mask-modality</span> "
        "<span>--out</span> a--b</pre>"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12346, "0.123"), (-0.0001, "0.000"), (0.0, "0.000"), (-0.0006, "-0.001"), (math.nan, "–")],
)
def test_zero_has_no_sign(value: float, text: str) -> None:
    assert number(value, 3) == text
