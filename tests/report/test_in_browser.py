"""What a browser makes of the pages: no errors, no requests, and nothing that sticks out."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser

from crossalign.config import load_config
from crossalign.pipeline import train
from crossalign.report import MethodRuns, write_study_report
from crossalign.studies.study import MethodResult
from crossalign.visuals import MapOptions, visualize

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"
)
SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=2"]
WIDTHS = (1200, 400)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run report, a study report of two methods, and a page of maps, all of real runs."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {"freedom": folder / "alone", "freedom+fettle": folder / "aligned"}
    for label, run in runs.items():
        alignment = label.partition("+")[2] or None
        config = load_config(None, SMALL, backbone="freedom", alignment=alignment)
        train(config, run, progress=False, command="crossalign train planted " + "--set a=b " * 20)
    methods: list[MethodRuns] = [
        MethodResult(label, (run,), {}, {}, base="freedom" if "+" in label else None)
        for label, run in runs.items()
    ]
    metrics = ["recall@10", "recall@20", "ndcg@10", "ndcg@20"]
    study = write_study_report(folder / "study", methods, metrics, command="crossalign compare")
    visualize(
        runs["freedom+fettle"],
        folder / "maps",
        against=runs["freedom"],
        options=MapOptions(method="pca", sample=80, pairs=80),
        progress=False,
    )
    return {
        "run": runs["freedom+fettle"] / "report.html",
        "study": study,
        "maps": folder / "maps" / "visuals.html",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("name", "n_plots"), [("run", 7), ("study", 4), ("maps", 4)])
def test_a_page_is_clean_whole_and_fits(
    browser: Browser, pages: dict[str, Path], name: str, n_plots: int, width: int, scheme: str
) -> None:
    browser.show(pages[name].as_uri(), width=width, scheme=scheme)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    drawn = (
        "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 200)"
    )
    assert browser.evaluate(f"{drawn}.length") == n_plots
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.troubles() == []


def test_legends_and_labels_of_plots_lie_within_the_plot(
    browser: Browser, pages: dict[str, Path]
) -> None:
    """Text that is cut off at the edge of its plot cannot be read."""
    outside = """[...document.querySelectorAll('svg')].flatMap(svg => {
        const box = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter(text => {
            const own = text.getBoundingClientRect();
            return own.left < box.left - 2 || own.right > box.right + 2
                || own.top < box.top - 2 || own.bottom > box.bottom + 2;
        }).map(text => text.textContent);
    })"""
    for page in pages.values():
        browser.show(page.as_uri(), width=1200, scheme="light")
        assert browser.evaluate(outside) == []


def test_a_click_on_the_head_of_a_column_sorts_the_table(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.show(pages["run"].as_uri(), width=1200, scheme="light")
    column = (
        "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => r.cells[1].innerText)"
    )
    before = [float(value) for value in browser.evaluate(column)]
    click = "document.querySelectorAll('table')[0].querySelectorAll('thead button')[0].click()"
    browser.evaluate(click)
    down = [float(value) for value in browser.evaluate(column)]
    browser.evaluate(click)
    up = [float(value) for value in browser.evaluate(column)]
    assert before != sorted(before)
    assert (down, up) == (sorted(before, reverse=True), sorted(before))


def test_a_printed_page_has_no_empty_sheets(browser: Browser, pages: dict[str, Path]) -> None:
    browser.show(pages["maps"].as_uri(), width=1200, scheme="light")
    document = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert 1 <= document.count(b"/Type /Page\n") + document.count(b"/Type /Page ") <= 6
