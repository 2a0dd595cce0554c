"""`crossalign train --parts` in one process: learns, resumes, and refuses in one line."""

from __future__ import annotations

import json
import shutil

import pytest

from crossalign.cli import main

SMALL = ["--set", "data.planted_users=60", "--set", "data.planted_items=40", "--quiet"]
CHOSEN = ["--quiet"]
for _setting in ("backbone.dim=8", "training.batch_size=64", "training.learning_rate=0.02"):
    CHOSEN += ["--set", _setting]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "one"
    assert main(["partition", "planted", "--parts", "1", "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    """Four epochs of LightGCN, alone."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    command = ["train", "--parts", str(parts), "--backbone", "lightgcn", "--alignment", "none"]
    command += ["--out", str(folder), *CHOSEN, "--set", "training.epochs=4"]
    assert main(command) == 0
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_it_learns_and_leaves_a_run(run):
    rows = history(run)
    losses = [row["loss/bpr"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "metrics.json", "model.safetensors", "report.html"} <= names


def test_a_run_that_broke_off_goes_on_as_if_it_had_not(run, parts, tmp_path):
    """Two epochs, then two more: the history of four, bit for bit."""
    folder = tmp_path / "run"
    command = ["train", "--parts", str(parts), "--backbone", "lightgcn", "--alignment", "none"]
    command += ["--out", str(folder), *CHOSEN, "--set", "training.epochs=2"]
    assert main(command) == 0
    again = ["train", "--parts", str(parts), "--resume", str(folder), "--quiet"]
    assert main([*again, "--set", "training.epochs=4"]) == 0
    assert history(folder) == history(run)


def test_a_half_written_checkpoint_is_refused_by_name(copy, parts, capsys):
    file = next((copy / "checkpoint.parts" / "epoch-4").rglob("user_embedding.npy"))
    with file.open("r+b") as handle:
        handle.truncate(64)
    command = ["train", "--parts", str(parts), "--resume", str(copy), "--quiet"]
    assert main([*command, "--set", "training.epochs=6"]) == 2
    assert f"{file} is missing or half-written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts", "local:2"], "has 1 part(s) and there are 2 host(s)"),
        (["--hosts", "local:x"], "write local:2 for two hosts on this machine"),
        (["--hosts", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["--backbone", "lattice"], "cannot be trained on parts: choose one of"),
        (["--backbone", "freedom"], "set backbone.dropout to 0"),
        (["--set", "training.weight_decay=0.1"], "'training.weight_decay' is not known"),
        (["planted"], "--parts names the data"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, message, parts, tmp_path, capsys):
    chosen = [] if "--backbone" in arguments else ["--backbone", "lightgcn"]
    command = ["train", "--parts", str(parts), *chosen, "--out", str(tmp_path / "run"), "--quiet"]
    assert main([*command, *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_hosts_need_parts(capsys):
    assert main(["train", "planted", "--hosts", "local:2"]) == 2
    assert "give --parts" in capsys.readouterr().err
