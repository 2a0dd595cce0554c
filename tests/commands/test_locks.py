"""One writer a folder, and what killed ones left is swept."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crossalign.cli import main
from crossalign.locks import LOCK_FILE, only_writer

RESUME = "train --resume r --quiet --set training.epochs=9"
COMPARE = "compare c.yaml --quiet --seeds 0 --out new"
WRITERS = {
    "train": ("train d --quiet --out new", "new"),
    "resume": (RESUME, "r"),
    "compare": (COMPARE, "new"),
    "references": (f"{COMPARE} --references popularity", "new"),
    "search": ("search planted --config c.yaml --grid backbone.dim=4 --quiet --out new", "new"),
    "tune": ("tune c.yaml --trials 1 --quiet --out new", "new"),
    "export": ("export r --out s --replace", "s"),
    "neighbors": ("neighbors d --quiet -o n.npz", "n.npz"),
    "neighbors folder": ("neighbors d --quiet -o near", "near"),
    "encode": ("encode planted --quiet -o e_feat.npy", "e_feat.npy"),
    "visualize": ("visualize r --quiet", "r"),
    "probe": ("probe --run r --clusters 4", "r"),
    "popularity": ("popularity r --groups 2 --quiet --out new", "new"),
}


def locks_in(place: Path) -> list[Path]:
    return sorted(place.rglob("*.lock"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_second_writer_is_refused_and_told_of_the_first(
    name: str, place: Path, refused: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossalign.locks.PATIENCE", 0.0)
    command, folder = WRITERS[name]
    with only_writer(folder):
        before = sorted(place.rglob("*"))
        said = refused(command)
        assert f"{folder} is being written by another process (pid {os.getpid()} on " in said
        assert sorted(place.rglob("*")) == before
    assert locks_in(place) == []


@pytest.mark.parametrize(
    "name",
    [
        "resume",
        "references",
        "export",
        "neighbors",
        "probe",
        "popularity",
    ],
)
def test_a_lock_goes_with_the_work(name: str, place: Path) -> None:
    """And none is taken twice by one command."""
    assert main(WRITERS[name][0].split()) == 0
    assert locks_in(place) == []


def test_a_lock_dies_with_its_process(place: Path) -> None:
    script = "import os; from crossalign.locks import hold; from pathlib import Path; "
    script += "hold(Path('r/.lock')); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], check=False)
    assert (place / "r" / LOCK_FILE).exists()
    assert main(["train", "--resume", "r", "--quiet", "--set", "training.epochs=4"]) == 0
    assert not (place / "r" / LOCK_FILE).exists()


LEFT = {
    "neighbors": ("neighbors d --quiet -o n.npz", ".n.{}.tmp.npz"),
    "run": ("train --resume r --quiet --set training.epochs=4", "r/.checkpoint.{}.tmp.pt"),
    "metrics": ("train --resume r --quiet --set training.epochs=4", "r/.metrics.{}.tmp.json"),
    "export": ("export r --out s --replace", "s/.new-{}"),
    "recommend": ("recommend s --quiet -o lists.csv", ".lists.{}.tmp.csv"),
    "popularity": ("popularity r --groups 2 --quiet --out p", "p/.report.{}.tmp.html"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_a_killed_process_left_is_swept(name: str, place: Path) -> None:
    command, pattern = LEFT[name]
    left = place / pattern.format(12345)
    left.parent.mkdir(exist_ok=True)
    left.mkdir() if "new-" in pattern else left.write_text("half")
    assert main(command.split()) == 0
    assert not left.exists()


def test_what_a_living_process_writes_stays(place: Path) -> None:
    living = place / ".n.12345.tmp.npz"
    with living.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["neighbors", "d", "--quiet", "-o", "n.npz"]) == 0
        assert living.exists()
