"""What surrounds a run does not end it: streams, letters, names, and options without sense."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crossalign.cli import main

TRAIN = "train d --backbone bpr --set backbone.dim=8 --set training.epochs=2 --out new"


class Broken(io.StringIO):
    """A stream of which every write fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.writes = error, 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise self.error


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS: dict[str, tuple[str, Callable[[], io.StringIO | None]]] = {
    "errors on a full disk": ("stderr", lambda: Broken(OSError(28, "No space left on device"))),
    "errors into a pipe that nobody reads": ("stderr", lambda: Broken(BrokenPipeError())),
    "errors to a terminal that hung up": ("stderr", lambda: Broken(OSError(5, "I/O error"))),
    "errors closed": ("stderr", closed),
    "no errors": ("stderr", lambda: None),
    "no output": ("stdout", lambda: None),
    "output into a pipe that nobody reads": ("stdout", lambda: Broken(BrokenPipeError())),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_cannot_be_written_end_no_training(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which, make = STREAMS[name]
    stream = make()
    with monkeypatch.context() as patch:
        patch.setattr(sys, which, stream)
        assert main(TRAIN.split()) == 0
    if isinstance(stream, Broken):
        assert stream.writes > 0  # else nothing was tested
    assert len((place / "new/history.jsonl").read_text().splitlines()) == 2
    assert main(["evaluate", "new"]) == 0


SHELLS = {">&- 2>&-": 0, "<&- 2>/dev/full": 0, ">/dev/full 2>/dev/full": 2}
"""Redirections -> exit code: 2 where the results that were asked for cannot be printed."""


@pytest.mark.parametrize("streams", SHELLS)
def test_streams_of_a_shell_end_no_training(streams: str, place: Path) -> None:
    """Descriptors that are closed or full before Python begins."""
    command = f"{sys.executable} -m crossalign {TRAIN} {streams}"
    done = subprocess.run(["bash", "-c", command], check=False, stdout=subprocess.DEVNULL)
    assert done.returncode == SHELLS[streams]
    assert len((place / "new/history.jsonl").read_text().splitlines()) == 2
    assert main(["evaluate", "new"]) == 0


LETTERS = {
    "lists": ("recommend shop --users u1 -k 20", "\xe9"),
    "lists of one who is new": ("recommend shop --history \xe93 -k 20", "\xe9"),
    "a name in another alphabet": ("describe \u6570\u636e", "\u6570\u636e"),
    "a name that is no UTF-8": ("describe caf\udce9", "\udce9"),
    "an unknown id": ("recommend shop --users \u20ac", "\u20ac"),
    "a run of that name": ("evaluate caf\udce9 --split \xe9", "\xe9"),
    "training": (
        "train \u6570\u636e --backbone bpr --set training.epochs=1 --quiet --out caf\udce9",
        "\udce9",
    ),
}


@pytest.fixture(scope="module")
def abroad(tmp_path_factory: pytest.TempPathFactory, train_small: Callable[..., None]) -> Path:
    """Data and an export of items with an accent."""
    folder = tmp_path_factory.mktemp("abroad")
    rows = [f"u{u},\xe9{(u * 3 + j) % 20}" for u in range(30) for j in range(8)]
    for name in ("\u6570\u636e", "caf\udce9"):
        (folder / name).mkdir()
        table = "\n".join(["user,item", *rows]) + "\n"
        (folder / name / "interactions.csv").write_text(table, encoding="utf-8")
    train_small(folder / "\u6570\u636e", folder / "run", "training.epochs=1")
    assert main(["export", str(folder / "run"), "--out", str(folder / "shop")]) == 0
    return folder


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("name", LETTERS)
def test_a_terminal_without_the_letters_shows_their_codes(
    name: str, encoding: str, abroad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, letters = LETTERS[name]
    monkeypatch.chdir(abroad)
    words = [str(tmp_path / "new") + w[3:] if w == "caf\udce9" and name == "training" else w
             for w in command.split()]  # fmt: skip
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setattr(sys, "stderr", terminal)
        code = main(words)
    said = raw.getvalue().decode(encoding)
    assert code == (2 if name in ("an unknown id", "a run of that name") else 0)
    assert letters.encode(encoding, "backslashreplace").decode(encoding) in said


def test_a_name_that_is_not_utf8_is_no_obstacle(place: Path) -> None:
    """Neither for the run, nor for its report, in a process that knows ASCII alone."""
    name, out = os.fsdecode(b"caf\xe9"), os.fsdecode(b"run\xe9")
    (place / "d").rename(place / name)
    words = [out if word == "new" else name if word == "d" else word for word in TRAIN.split()]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "-m", "crossalign", *words]
    done = subprocess.run(command, env=ascii_only, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"run\\udce9" in done.stdout
    assert (place / out / "report.html").is_file()
    assert main(["evaluate", out]) == 0


SENSELESS = {
    "cut-off": "evaluation.ks=[1000000000000]",
    "no cut-off": "evaluation.ks=[0]",
    "cut-off in words": "evaluation.ks=[ten]",
    "cut-offs": "evaluation.ks=[]",
    "metric": "training.monitor=recal@20",
    "no monitor": "training.monitor=recall",
    "monitor": "training.monitor=recall@1000000000000",
    "monitor at zero": "training.monitor=ndcg@0",
    "monitor below zero": "training.monitor=ndcg@-5",
}


@pytest.mark.parametrize("name", SENSELESS)
def test_senseless_metrics_are_refused_before_training(
    name: str, place: Path, refused: Callable[[str], str]
) -> None:
    said = refused(f"train d --out new --set {SENSELESS[name]}")
    assert ("evaluation.ks" if "cut-off" in name else "metric '") in said
    assert not (place / "new").exists()


@pytest.mark.parametrize("command", ["compare c.yaml", "tune c.yaml --trials 1"])
def test_senseless_metrics_begin_no_study(
    command: str, place: Path, refused: Callable[[str], str]
) -> None:
    for setting in ("evaluation.ks=[0]", "training.monitor=recal@20"):
        refused(f"{command} --set {setting} --quiet --out new")
    assert not (place / "new").exists()


def test_a_cut_off_beyond_the_catalogue_is_that_of_the_catalogue(
    place: Path, train_small: Callable[..., None]
) -> None:
    """However large: no memory is taken for it."""
    beyond = ("evaluation.ks=[20,999999999]", "training.monitor=ndcg@999999999")
    train_small("d", "new", "training.epochs=1", *beyond)
    test = json.loads((place / "new/metrics.json").read_text())["test"]
    assert test["recall@999999999"] == test["recall@20"] == 1.0
