"""A run knows its data by content, and loses no weights unasked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crossalign.cli import main

MOVED = {
    "evaluate": "evaluate r --data e",
    "export": "export r --out new --data e",
    "resume": "train --resume r --data e --quiet --set training.epochs=4",
    "resume with DATA": "train e --resume r --quiet --set training.epochs=4",
    "resume with path": "train --resume r --set path=e --quiet --set training.epochs=4",
    "probe": "probe --run r --clusters 4 --quiet --data e",
    "popularity": "popularity r --groups 2 --quiet --out p --data e",
}


@pytest.mark.parametrize("name", MOVED)
def test_moved_data_are_found_and_other_data_refused(
    name: str, place: Path, refused: Callable[[str], str]
) -> None:
    (place / "d").rename(place / "e")
    if name != "resume with DATA" and "path=" not in MOVED[name]:
        bare = MOVED[name].replace(" --data e", "")
        assert "--data" in refused(bare)
    rows = (place / "e/interactions.csv").read_text()
    (place / "e/interactions.csv").write_text(rows + "29,19\n29,18\n29,17\n")
    said = refused(MOVED[name])
    assert "other data" in said or "another configuration or data set" in said
    (place / "e/interactions.csv").write_text(rows)
    assert main(MOVED[name].split()) == 0


def test_a_moved_run_goes_on_from_where_its_data_are_then(place: Path) -> None:
    """Once resumed with moved data, a run knows their place."""
    (place / "d").rename(place / "e")
    assert (
        main(["train", "--resume", "r", "--data", "e", "--quiet", "--set", "training.epochs=4"])
        == 0
    )
    assert main(["train", "--resume", "r", "--quiet", "--set", "training.epochs=5"]) == 0
    assert main(["evaluate", "r"]) == 0


RESUME = "train --resume r --quiet --set training.epochs=4"


def test_a_refused_resume_writes_nothing(place: Path, refused: Callable[[str], str]) -> None:
    """Neither what the run was trained with nor the command that made it is written over."""
    kept = {name: (place / "r" / name).read_bytes() for name in ("config.yaml", "command.txt")}
    cut(place / "r")
    refused(RESUME)
    (place / "r" / "checkpoint.pt").unlink()
    refused(RESUME)
    assert {name: (place / "r" / name).read_bytes() for name in kept} == kept


def without(*names: str) -> Callable[[Path], None]:
    return lambda run: [(run / name).unlink() for name in names] and None


def cut(run: Path) -> None:
    whole = (run / "checkpoint.pt").read_bytes()
    (run / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])


def results_of(run: Path) -> dict[str, bytes]:
    """All that training wrote; what was asked for may be noted."""
    asked = ("config.yaml", "command.txt")
    return {f.name: f.read_bytes() for f in run.iterdir() if f.is_file() and f.name not in asked}


LOST: dict[str, Callable[[Path], object]] = {
    "checkpoint": without("checkpoint.pt"),
    "checkpoint and metrics": without("checkpoint.pt", "metrics.json"),
    "checkpoint and history": without("checkpoint.pt", "history.jsonl"),
    "all but weights": without("checkpoint.pt", "metrics.json", "history.jsonl", "timings.jsonl"),
    "half": cut,
    "empty": lambda run: (run / "checkpoint.pt").write_bytes(b""),
    "text": lambda run: (run / "checkpoint.pt").write_text("Sorry, your link has expired."),
    "weights in its place": lambda run: shutil.copy(
        run / "model.safetensors", run / "checkpoint.pt"
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_checkpoint_loses_no_weights(
    name: str, place: Path, refused: Callable[[str], str]
) -> None:
    """Refused; begun anew when asked, beside what was there, which still evaluates as before."""
    run = place / "r"
    weights = (run / "model.safetensors").read_bytes()
    LOST[name](run)
    left = results_of(run)
    assert "--anew" in refused(RESUME)
    assert results_of(run) == left
    assert main([*RESUME.split(), "--anew"]) == 0
    assert len((run / "history.jsonl").read_text().splitlines()) == 4
    assert (run / "before-1" / "model.safetensors").read_bytes() == weights
    assert main(["evaluate", "r/before-1"]) == 0


def test_what_is_begun_anew_is_said(
    place: Path, refused: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "r" / "checkpoint.pt").unlink()
    capsys.readouterr()
    assert main([*RESUME.split(), "--anew"]) == 0
    assert "r/before-1, kept as it was" in capsys.readouterr().out
    assert "name its folder with --resume" in refused("train d --anew")


def test_a_study_replaces_no_weights_either(place: Path, refused: Callable[[str], str]) -> None:
    compare = "compare c.yaml --seeds 0 --quiet --out study"
    assert main(compare.split()) == 0
    [run] = (place / "study").glob("**/seed0")
    (run / "checkpoint.pt").unlink()
    (run / "metrics.json").unlink()
    weights = (run / "model.safetensors").read_bytes()
    assert "no checkpoint.pt" in refused(compare)
    assert (run / "model.safetensors").read_bytes() == weights
