"""What a new user is told: before a training, during it, after it, and how to repeat it."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from crossalign import progress
from crossalign.cli import main
from crossalign.config import load_config
from crossalign.datasets import Dataset
from crossalign.progress import Bar
from crossalign.report.opening import next_lines, opening_lines
from crossalign.training import TrainingOptions
from crossalign.training.state import TrainingState

SMALL = ["--set", "data.planted_users=80", "--set", "data.planted_items=60"]
BPR = ["train", "planted", "--backbone", "bpr", *SMALL, "--set", "training.epochs=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run folder, and what its training printed on standard output and on standard error."""
    folder = tmp_path_factory.mktemp("hour") / "my run"
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        assert main([*BPR, "--out", str(folder)]) == 0
    return folder, out.getvalue(), err.getvalue()


def test_train_begins_with_data_content_and_split(trained: tuple[Path, str, str]) -> None:
    data, content, split = trained[1].splitlines()[:3]
    assert data.startswith("data     planted: 80 users, 60 items, ")
    assert content == "content  image of all items, 64 columns; text of all items, 48 columns"
    assert split.startswith("split    train ")
    assert "MMRec's rule (data.split=auto, data.split_seed=999)" in split


def test_train_ends_with_commands_that_the_parser_knows(trained: tuple[Path, str, str]) -> None:
    folder, out, _ = trained
    lines = [line.strip() for line in out[out.index("\nnext\n") :].splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("crossalign ")]
    assert {"visualize", "export", "train"} <= {command[0] for command in commands}
    for command in commands:
        if command[0] == "train" and "--resume" not in command:
            assert main([*command, "--quiet"]) == 0
            assert (folder.parent / "my run-cross" / "report.html").is_file()


def test_coverage_counts_items_that_lack_a_modality() -> None:
    pairs = torch.tensor([[0, 1], [0, 1]])
    features = {"text": torch.tensor([[0.0], [1.0], [1.0], [1.0]]).repeat(1, 3)}
    missing = {"text": torch.tensor([True, False, False, False])}
    data = Dataset("toy", 2, 4, pairs, pairs, pairs, features, missing, split_rule="by hand")
    lines = opening_lines(data)
    assert lines[1] == "content  text of 75.0% of the items, 3 columns"
    assert lines[2] == "split    train 2, valid 2, test 2: by hand"
    bare = Dataset("toy", 2, 4, pairs, pairs, pairs)
    assert opening_lines(bare)[1] == "content  none"


def test_a_run_whose_last_epoch_was_the_best_is_told_to_go_on() -> None:
    config = load_config(path="planted")
    late = next_lines(config, Path("run"), 9, 9, reads=True)
    assert "not converged" in late[1]
    assert "--resume run --set training.epochs=18" in late[1]
    assert "not converged" not in "".join(next_lines(config, Path("run"), 3, 9, reads=True))


def test_what_follows_is_what_would_run() -> None:
    """A refit holds nothing out to compare on; a run from another has that one's parts."""
    for more, has in (
        ([], {"visualize", "export", "train --config", "train --refit"}),
        (["data.hold_out=false"], {"visualize", "export"}),
        (["start_from=earlier"], {"visualize", "export", "train --refit"}),
    ):
        config = load_config(overrides=more, path="planted", alignment="cross")
        lines = "\n".join(next_lines(config, Path("run"), 3, 9, reads=True))
        told = set(re.findall(r"crossalign (train --\w+|\w+)", lines))
        assert told == has


def test_how_to_repeat_a_run_survives_a_resume(trained: tuple[Path, str, str]) -> None:
    """One of the same settings adds nothing; one that asks for more is a second line."""
    folder = trained[0]
    first = f"crossalign {shlex.join([*BPR, '--out', str(folder)])}"

    def commands() -> list[str]:
        assert (folder / "report.html").is_file()
        return list(json.loads((folder / "metrics.json").read_text())["command"].splitlines())

    assert commands() == [first]
    again = ["train", "--resume", str(folder), "--quiet"]
    assert main(again) == 0
    assert commands() == [first]
    longer = [*again, "--set", "training.epochs=3"]
    assert main(longer) == 0
    assert commands() == [first, f"crossalign {shlex.join(longer)}"]
    assert main(again) == 0
    assert commands() == [first, f"crossalign {shlex.join(longer)}"]


def test_a_log_gets_lines_that_name_the_method(trained: tuple[Path, str, str]) -> None:
    err = trained[2]
    assert "\r" not in err
    assert "\x1b" not in err
    assert re.search(r"^bpr, seed 0: +\d+%", err, re.MULTILINE)
    assert len(err.splitlines()) < 6


def test_a_terminal_gets_a_bar_that_redraws_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    for _ in Bar(range(3), mininterval=0):
        pass
    assert screen.getvalue().count("\r") >= 3


def test_a_log_has_no_line_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    lines = progress._Lines(log)
    for text in ("\r 50%", "\r 50%", "\n", "\x1b[A", "\r100%   "):
        lines.write(text)
    assert log.getvalue() == "50%\n100%\n"


def test_bars_count_to_where_early_stopping_would_end() -> None:
    """Three evaluations without a better one are borne, every second epoch is evaluated."""
    options = TrainingOptions(epochs=100, patience=3, eval_every=2)
    state = TrainingState()
    assert state.likely_end(options) == 8
    state.epoch, state.bad_evaluations = 10, 0
    assert state.likely_end(options) == 18
    state.epoch, state.bad_evaluations = 16, 3
    assert state.likely_end(options) == 18
    state.epoch, state.bad_evaluations = 18, 4
    assert state.likely_end(options) == 18
    state.epoch, state.bad_evaluations = 97, 0
    assert state.likely_end(options) == 100
