"""What a browser makes of the pages: no errors, no requests, and nothing that sticks out.

Chromium is driven over its debugging pipe, so that nothing but the browser itself is needed.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossalign.config import load_config
from crossalign.pipeline import train
from crossalign.report import MethodRuns, write_study_report
from crossalign.studies.study import MethodResult
from crossalign.visuals import MapOptions, visualize

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"
)
OPTIONS = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=2"]
WIDTHS = (1200, 400)
TROUBLE = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


class Browser:
    """A headless Chromium with one page.

    Args:
        profile: empty folder for its profile.
    """

    def __init__(self, profile: Path) -> None:
        (to_read, self._write), (self._read, to_write) = os.pipe(), os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]
        self._process = subprocess.Popen(
            [CHROMIUM, *OPTIONS.split(), "--remote-debugging-pipe", f"--user-data-dir={profile}"],
            preexec_fn=lambda: [os.dup2(end, number) for number, end in enumerate(ends, start=3)],
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
        )
        for end in (to_read, to_write, *ends):
            os.close(end)
        self._count, self._session, self._buffer = 0, None, b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self.call("Browser.close", at_browser=True)
        self._process.wait(timeout=60)
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, *, at_browser: bool = False, **params: object) -> dict[str, Any]:
        """The result of one command of the DevTools protocol; events on the way are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session and not at_browser:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "chromium ended early"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def show(self, page: Path, *, width: int, scheme: str) -> None:
        """Load `page` in a window of `width` in the colours of `scheme`."""
        self.events.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        colors = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=colors)
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self) -> bytes:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def requests(self) -> list[str]:
        """Addresses that the page asked for."""
        sent = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def troubles(self) -> list[str]:
        """What stands in the console."""
        return [str(event["params"]) for event in self.events if event["method"] in TROUBLE]


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
    browser.show(pages[name], width=width, scheme=scheme)
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
        browser.show(page, width=1200, scheme="light")
        assert browser.evaluate(outside) == []


def test_a_click_on_the_head_of_a_column_sorts_the_table(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.show(pages["run"], width=1200, scheme="light")
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
    browser.show(pages["maps"], width=1200, scheme="light")
    document = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert 1 <= document.count(b"/Type /Page\n") + document.count(b"/Type /Page ") <= 6
