"""Figures beside a page: as SVG and PDF, as wide as a column, in colours that paper shows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import matplotlib
import pytest

from crossalign.report import markup, write_report, write_study_report
from crossalign.report.heat_map import heat_map
from crossalign.report.markup import Html
from crossalign.report.page_files import figure_folder, light_colors, pdf_file, svg_file, write_page
from crossalign.report.plots import Ticks, curve_plot, dot_plot, line_plot, scatter_plot

POINTS = ([1.0, 2.0, 3.0], [0.1, 0.2, 0.3])


def drawn(name: str = "a line") -> Html:
    return line_plot(name, {"term": POINTS, "other": POINTS}, xlabel="epoch", ylabel="y")


PLOTS = {
    "line": drawn(),
    "dots": dot_plot("dots", {"bpr": [0.1, 0.2], "ncl": [0.3]}, xlabel="Recall"),
    "curve": curve_plot("curve", {"bpr": [(0.1, 0.01)]}, Ticks("k", ["5"]), ylabel="R"),
    "heat": heat_map("heat", [[0.1, 0.2]], ["1"], ["2", "3"], xlabel="x", ylabel="y"),
    "map": scatter_plot("map", {"id": POINTS}, xlabel="x", ylabel="y", is_map=True),
}


@pytest.mark.parametrize("name", PLOTS)
def test_an_svg_file_stands_alone_in_the_width_of_a_column(name):
    """No variable of the page is left in it, and its colours are those of light pages."""
    text = svg_file(PLOTS[name])
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("width") == "3.35in"
    assert float(root.get("height").removesuffix("in")) > 0.5
    assert "var(--" not in text
    assert "#0101" not in text
    assert "#0202" not in text
    assert light_colors()["muted"] in text


@pytest.mark.parametrize("name", PLOTS)
def test_a_pdf_file_has_the_width_of_a_column_and_embeds_its_font(name, monkeypatch):
    """TrueType, which publishers ask for; none of the placeholder colours is in it."""
    monkeypatch.setitem(matplotlib.rcParams, "pdf.compression", 0)
    data = pdf_file(PLOTS[name])
    width, _ = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data).groups()
    assert float(width) == pytest.approx(3.35 * 72)
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    colors = re.findall(rb"(?:^|\n)([\d.]+ [\d.]+ [\d.]+) (?:rg|RG)", data)
    assert colors
    assert not [c for c in colors if all(0 < float(v) < 0.06 for v in c.split())]


def test_equal_plots_have_equal_files():
    assert pdf_file(drawn()) == pdf_file(drawn())
    assert svg_file(drawn()) == svg_file(drawn())


def test_every_plot_of_a_page_lies_beside_it_under_its_name(tmp_path):
    """However deep it stands in the page; equal names are numbered."""
    body = markup.section(
        "S",
        markup.grid(markup.figure("A", drawn("Recall@20 by epoch")), markup.note("text")),
        markup.panel("B", markup.join([markup.drawing(drawn("Recall@20 by epoch"))])),
        markup.figure("nothing", Html("")),
    )
    page = tmp_path / "report.html"
    write_page(page, markup.page("title", "subtitle", body))
    assert figure_folder(page) == tmp_path / "report-figures"
    assert sorted(file.name for file in figure_folder(page).iterdir()) == [
        "recall-20-by-epoch-2.pdf", "recall-20-by-epoch-2.svg",
        "recall-20-by-epoch.pdf", "recall-20-by-epoch.svg",
    ]  # fmt: skip


def test_figures_that_a_page_no_longer_has_are_removed(tmp_path):
    page = tmp_path / "report.html"
    write_page(page, markup.page("t", "s", markup.figure("A", drawn("old"))))
    (figure_folder(page) / "notes.txt").write_text("mine")
    write_page(page, markup.page("t", "s", markup.figure("A", drawn("new"))))
    names = {file.name for file in figure_folder(page).iterdir()}
    assert names == {"new.svg", "new.pdf", "notes.txt"}


def test_a_page_without_plots_has_no_folder(tmp_path):
    write_page(tmp_path / "report.html", markup.page("t", "s", markup.note("text")))
    assert not (tmp_path / "report-figures").exists()


def test_reports_of_runs_and_studies_have_their_figures(make_run, tmp_path):
    folder = make_run()
    found = {file.name for file in figure_folder(write_report(folder)).glob("*.pdf")}
    assert "recall-20-on-validation-by-epoch.pdf" in found
    assert len(found) >= 4

    class Method:
        label, folders, base, data, reference = "one", (folder,), None, "", False

    page = write_study_report(tmp_path / "study", [Method()], ["recall@20"])
    assert [f.name for f in figure_folder(page).glob("*.svg")] == ["recall-20-by-method.svg"]
