"""Two hosts on one machine: each with its server, its trainer and a /dev/shm of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossalign.cli import main
from crossalign.config import load_config
from crossalign.distributed.agent import namespace
from crossalign.distributed.cluster import entered
from crossalign.distributed.run import train_parts

SMALL = ["--set", "data.planted_users=60", "--set", "data.planted_items=40"]
CHOSEN = ["backbone.dim=8", "training.batch_size=64", "training.learning_rate=0.02"]
STUCK = 400.0

pytestmark = pytest.mark.skipif(
    not namespace(), reason="this system allows no mounts of one's own (unshare -m)"
)
takes_long = pytest.mark.skipif(
    "CROSSALIGN_LONG" not in os.environ, reason="takes minutes: set CROSSALIGN_LONG=1"
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Planted data in two parts and in one, by the command."""
    folder = tmp_path_factory.mktemp("parts")
    for n in (1, 2):
        made = ["partition", "planted", "--parts", str(n), "--out", str(folder / f"{n}"), "--quiet"]
        assert main([*made, "--method", "random", *SMALL]) == 0
    return folder


def started(parts: Path, run: Path, epochs: int, *, resume: bool = False) -> subprocess.Popen:
    """`crossalign train --hosts local:2`."""
    chosen = [a for setting in CHOSEN for a in ("--set", setting)]
    command = [sys.executable, "-m", "crossalign", "train", "--parts", str(parts / "2")]
    command += ["--hosts", "local:2", "--quiet", "--set", f"training.epochs={epochs}"]
    if resume:
        command += ["--resume", str(run)]
    else:
        command += ["--backbone", "lightgcn", "--alignment", "cross", "--out", str(run), *chosen]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def processes(parts: Path) -> dict[str, int]:
    """Servers, trainers and agents that work on `parts`: what they are -> process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            said = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            env = dict(
                line.split(b"=", 1)
                for line in (entry / "environ").read_bytes().split(b"\0")
                if b"=" in line
            )
        except OSError:  # it has ended
            continue
        if str(parts) not in said or int(entry.name) == os.getpid():
            continue
        kind = env.get(b"DGL_ROLE", b"").decode(errors="replace")
        number = env.get(b"CROSSALIGN_TRAINER", env.get(b"DGL_SERVER_ID", b"")).decode()
        found[f"{kind} {number}" if kind else f"other {entry.name}"] = int(entry.name)
    return found


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    """A run of two epochs on two hosts, and what the launcher printed."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    process = started(parts, folder, 2)
    out, err = process.communicate(timeout=STUCK)
    assert process.returncode == 0, err
    return folder, out


def test_it_prints_as_one_and_leaves_nothing(run, parts):
    _, out = run
    assert out.count("best epoch") == 1
    assert out.count("report.html") == 1
    assert processes(parts) == {}
    assert [path for path in Path("/dev/shm").iterdir() if "-kvdata-" in path.name] == []


def test_the_run_folder_is_one_of_the_data(run, capsys):
    """Evaluated on one machine, its weights give the figures of the hosts, to the last digit."""
    folder, _ = run
    metrics = json.loads((folder / "metrics.json").read_text())
    assert main(["evaluate", str(folder)]) == 0
    shown = capsys.readouterr().out.split("recall")[1].split()[:4]
    names = ("recall@5", "recall@10", "recall@20", "recall@50")
    assert shown == [f"{metrics['test'][name]:.4f}" for name in names]
    from crossalign.pipeline import load_run
    from crossalign.run_measures import evaluate_split

    config, dataset, backbone = load_run(folder)
    found = evaluate_split(backbone, dataset, "test", config).to_dict()
    assert {k: metrics["test"][k] for k in found} == pytest.approx(found, rel=1e-12)


def test_the_run_is_exported_asked_and_probed_like_any_other(run, tmp_path, capsys):
    """The way out again: nothing of it says that two hosts trained."""
    folder, shop = run[0], tmp_path / "shop"
    assert main(["export", str(folder), "--out", str(shop)]) == 0
    capsys.readouterr()
    assert main(["recommend", str(shop), "--users", "3", "-k", "5"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 5
    assert main(["probe", "--run", str(folder), "--clusters", "4", "--quiet"]) == 0


def test_resume_on_another_number_of_hosts(run, parts, tmp_path):
    """Here with one, in this process: the history goes on where it was."""
    folder = shutil.copytree(run[0], tmp_path / "run")
    before = (folder / "history.jsonl").read_text().splitlines()
    config = load_config(folder / "config.yaml", ["training.epochs=3"])
    with entered(parts / "1") as cluster:
        result = train_parts(config, folder, cluster, resume=True, progress=False)
    after = (folder / "history.jsonl").read_text().splitlines()
    assert after[:2] == before
    assert len(after) == 3
    assert result.training.history[2]["loss"] < json.loads(before[0])["loss"]


@takes_long
@pytest.mark.parametrize("victim", ["client 1", "server 0"])
def test_a_killed_process_ends_the_run_with_one_line(victim, parts, tmp_path):
    """Within a minute, naming who it was; nothing is left, and the run can be resumed."""
    folder = tmp_path / "run"
    process = started(parts, folder, 100000)
    deadline = time.monotonic() + STUCK
    while not (folder / "checkpoint.parts" / "whole.json").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(processes(parts)[victim], signal.SIGKILL)
    killed = time.monotonic()
    _, err = process.communicate(timeout=STUCK)
    assert time.monotonic() - killed < 60
    assert process.returncode == 2
    lines = [line for line in err.splitlines() if line.startswith("crossalign: ")]
    assert len(lines) == 1, err
    name = "trainer 1 on 127.0.0.2" if victim == "client 1" else "server of 127.0.0.1"
    assert lines[0] == f"crossalign: {name} was killed (SIGKILL); continue with --resume"
    assert processes(parts) == {}


def test_a_killed_launcher_leaves_nothing(parts, tmp_path):
    """The agents see that the line is cut."""
    folder = tmp_path / "run"
    process = started(parts, folder, 100000)
    deadline = time.monotonic() + STUCK
    while "client 1" not in processes(parts):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.kill()
    process.communicate()
    until = time.monotonic() + 60
    while processes(parts) and time.monotonic() < until:
        time.sleep(0.2)
    assert processes(parts) == {}
