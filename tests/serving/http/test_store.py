"""A new export is taken over whole or not at all."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import shutil
import time
from pathlib import Path

import pytest

from crossalign.checksums import SEAL, sealed
from crossalign.errors import DataError
from crossalign.serving.http import store as module
from crossalign.serving.http.store import Store, read_current
from crossalign.serving.layout import ABOUT, INDEX, SEEN, VECTORS

GOOD = {"users": ["3"], "k": 5}
FORK = multiprocessing.get_context("spawn")


@pytest.fixture
def checks_here(monkeypatch) -> None:
    """Exports are checked in this process, which is faster."""
    monkeypatch.setattr(module, "_check_apart", lambda _, folder: module.check_export(folder))


def touch(live: Path, **changes: object) -> None:
    """Write `about.json` anew, with changes."""
    about = json.loads((live / ABOUT).read_text())
    (live / ABOUT).unlink()
    (live / ABOUT).write_text(json.dumps(sealed({**about, **changes})))


def follow(asgi) -> None:
    """Let the application look for another export."""
    before = asgi.service._changed
    for _ in range(100):
        asgi.run(asyncio.sleep(0.05))
        if asgi.service._changed != before:
            return


@pytest.mark.usefixtures("checks_here")
def test_a_new_export_takes_the_place_of_the_old_one(served, live) -> None:
    asgi = served(live)
    store = Store(live, asgi.service.store, taken=1, _seen=(1, 2, 3))
    name = asgi.get("/about").json()["export"]
    touch(live, dataset="next week")
    assert store.look(FORK) == "took a new export"
    assert store.look(FORK) is None
    follow(asgi)
    about = asgi.get("/about").json()
    assert about["dataset"] == "next week"
    assert about["export"] != name
    assert asgi.post("/lists/users", GOOD).json()["export"] == about["export"]
    assert read_current(asgi.service.store) == (2, 0)


@pytest.mark.usefixtures("checks_here")
@pytest.mark.parametrize("file", [VECTORS, INDEX, SEEN, "users.csv"])
def test_a_damaged_export_is_refused_and_the_old_one_goes_on(served, live, file) -> None:
    """In place, as a copy that goes wrong: not even the files of the old export are there then."""
    asgi = served(live)
    store = Store(live, asgi.service.store, taken=1)
    before = asgi.post("/lists/users", GOOD).body
    content = bytearray((live / file).read_bytes())
    content[len(content) // 2] ^= 1
    (live / file).write_bytes(content)
    touch(live)
    news = store.look(FORK)
    assert news is not None
    assert news.startswith("refused a new export")
    assert f"{live} is damaged ({file} is not the file" in news
    follow(asgi)
    assert asgi.post("/lists/users", GOOD).body == before
    assert "crossalign_exports_refused 1.0" in asgi.get("/metrics").body.decode()


@pytest.mark.usefixtures("checks_here")
def test_what_is_wrong_in_an_export_without_digests_is_found_too(live, tmp_path) -> None:
    (tmp_path / "store").mkdir()
    store = Store(live, tmp_path / "store")
    wrong = {
        VECTORS: b"broken",
        INDEX: b"broken",
        "users.csv": b"id\n1\n",
        SEEN: b"",
    }
    for file, content in wrong.items():
        before = (live / file).read_bytes()
        touch(live, sha256={})
        (live / file).write_bytes(content)
        with pytest.raises(DataError, match=str(live)):
            store.take()
        (live / file).write_bytes(before)
    (live / ABOUT).write_text("{")
    with pytest.raises(DataError, match="export the run again"):
        store.take()
    (live / ABOUT).unlink()
    with pytest.raises(DataError, match="is no export"):
        store.take()


@pytest.mark.usefixtures("checks_here")
def test_an_export_of_the_first_format_without_digests_and_date_is_served(served, live) -> None:
    about = json.loads((live / ABOUT).read_text())
    for name in ("sha256", "created", "encoders", SEAL):
        del about[name]
    (live / ABOUT).write_text(json.dumps(about))
    asgi = served(live)
    assert asgi.post("/lists/users", GOOD).status == 200
    assert asgi.get("/about").json()["created"] > 0


@pytest.mark.usefixtures("checks_here")
def test_an_export_that_changes_while_it_is_read_is_read_again(live, tmp_path, monkeypatch) -> None:
    (tmp_path / "store").mkdir()
    store = Store(live, tmp_path / "store")
    store.take()
    touch(live, dataset="first")
    copyfile = shutil.copyfile

    def slowly(source: Path, target: Path) -> None:
        copyfile(source, target)
        if source.name == SEEN:
            touch(live, dataset="second")

    with monkeypatch.context() as patched:
        patched.setattr(module.shutil, "copyfile", slowly)
        assert store.look(FORK) is None
    assert store.look(FORK) == "took a new export"
    number, _ = read_current(tmp_path / "store")
    assert json.loads((tmp_path / "store" / str(number) / ABOUT).read_text())["dataset"] == "second"


def test_a_file_that_breaks_the_reader_breaks_nothing_else(live, tmp_path, monkeypatch) -> None:
    """Exports are checked in a process of their own."""
    monkeypatch.setattr(module, "_check", breaks)
    with pytest.raises(DataError, match="reading it ends the process"):
        module._check_apart(multiprocessing.get_context("fork"), live)


def breaks(*_: object) -> None:
    import os

    os._exit(11)


@pytest.mark.usefixtures("checks_here")
def test_copies_that_nobody_reads_any_more_are_removed(live, tmp_path) -> None:
    (tmp_path / "store").mkdir()
    store = Store(live, tmp_path / "store")
    store.take()
    for week in range(4):
        time.sleep(0.01)
        touch(live, dataset=f"week {week}")
        assert store.look(FORK)
    copies = sorted(path.name for path in (tmp_path / "store").iterdir() if path.is_dir())
    assert copies == ["4", "5"]
