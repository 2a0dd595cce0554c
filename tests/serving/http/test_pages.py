"""What a browser makes of the pages of a service: they work, fit, and leave the console empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser
from service_process import Service

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"
)
TOKEN = "a-token-of-more-than-16-letters"
CARDS = "[...document.querySelectorAll('#result li.item')]"


@pytest.fixture(scope="module")
def address(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with titles, and a picture of every fifth item."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("titles")
    image.new("RGB", (60, 60), "teal").save(folder / "teal.png")
    rows = [f"{i},A thing called {'very ' * (i % 9)}{i},{'teal.png' if i % 5 == 0 else ''}"
            for i in range(100)]  # fmt: skip
    (folder / "items.csv").write_text("\n".join(["id,title,picture", *rows]) + "\n")
    arguments = ("--items", str(folder / "items.csv"), "--picture", "picture")
    with Service(export, *arguments, environment={"CROSSALIGN_TOKEN": TOKEN}) as service:
        yield f"http://localhost:{service.port}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


def submit(browser: Browser, form: str, field: str, value: str) -> None:
    browser.evaluate(
        f"(() => {{ const form = document.querySelector('{form}');"
        f" form.elements['{field}'].value = '{value}'; form.requestSubmit(); }})()"
    )


def enter(browser: Browser, address: str, width: int, scheme: str) -> None:
    """Show the page with the token given, and nothing said about its having been missing."""
    browser.show(f"{address}/docs", width=width, scheme=scheme)
    browser.evaluate(f"sessionStorage.setItem('token', '{TOKEN}')")
    browser.show(f"{address}/", width=width, scheme=scheme)
    browser.until("!document.querySelector('main').hidden")


def test_the_page_asks_for_the_token(browser: Browser, address: str) -> None:
    browser.show(f"{address}/docs", width=1200, scheme="light")
    browser.evaluate("sessionStorage.clear()")
    browser.show(f"{address}/", width=1200, scheme="light")
    browser.until("!document.querySelector('#token').hidden")
    assert browser.evaluate("document.querySelector('main').hidden")
    submit(browser, "#token", "token", TOKEN)
    browser.until("!document.querySelector('main').hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_a_user_has_a_history_a_list_and_reasons(
    browser: Browser, address: str, width: int, scheme: str
) -> None:
    enter(browser, address, width, scheme)
    submit(browser, "#user", "user", "3")
    browser.until(f"{CARDS}.length > 12")
    assert browser.evaluate(f"{CARDS}.every(card => card.textContent.includes('A thing called'))")
    browser.evaluate(
        "[...document.querySelectorAll('#result button')].find(b => b.textContent == 'why').click()"
    )
    browser.until("document.querySelectorAll('.why li').length == 5")
    assert "others who have it" in browser.evaluate("document.querySelector('.why').textContent")
    browser.until("[...document.images].every(i => i.complete && i.naturalWidth == 60)")
    assert browser.evaluate("document.images.length") > 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    foreign = [url for url in browser.requests() if not url.startswith((address, "blob:", "data:"))]
    assert foreign == []
    assert browser.troubles() == []


def test_someone_new_gets_a_list_by_picking_items(browser: Browser, address: str) -> None:
    enter(browser, address, 400, "light")
    browser.evaluate("document.querySelector('[data-tab=items]').click()")
    submit(browser, "#items form", "search", "called very very 2")
    browser.until("document.querySelectorAll('#matches li').length > 0")
    browser.evaluate("document.querySelector('#matches button').click()")
    browser.until("document.querySelectorAll('#result li.item').length == 13")
    assert browser.evaluate("document.querySelectorAll('#chosen button').length") == 1
    browser.evaluate("document.querySelector('#chosen button').click()")
    browser.until("document.querySelectorAll('#result li.item').length == 0")
    assert browser.troubles() == []


def test_a_mistake_is_said_on_the_page(browser: Browser, address: str) -> None:
    enter(browser, address, 400, "dark")
    submit(browser, "#user", "user", "nobody")
    browser.until("!document.querySelector('#problem').hidden")
    said = browser.evaluate("document.querySelector('#problem').textContent")
    assert said == "user 'nobody' is unknown"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_of_all_paths_lists_and_tries_them(
    browser: Browser, address: str, width: int, scheme: str
) -> None:
    enter(browser, address, width, scheme)
    browser.show(f"{address}/docs", width=width, scheme=scheme)
    browser.until("document.querySelectorAll('details').length >= 12")
    browser.evaluate(
        "(() => { const box = [...document.querySelectorAll('details')].find(d =>"
        " d.textContent.includes('/lists/users')); box.open = true;"
        " box.querySelector('button').click(); })()"
    )
    browser.until("document.querySelector('main').textContent.includes('\"lists\"')")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.troubles() == []
