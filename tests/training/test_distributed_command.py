"""`torchrun ... -m crossalign train`: one run folder, one voice, and an end when a process ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from torch.distributed import TCPStore

from crossalign import torchrun
from crossalign.cli import main

SMALL = [
    *("planted", "--alignment", "cross"),
    *("--set", "data.planted_users=90", "--set", "data.planted_items=60"),
    *("--set", "training.device=cpu", "--set", "training.batch_size=256"),
    *("--set", "training.patience=1000"),
]
FOREVER = 1000
"""Epochs of a run that is ended before."""
WAIT = 600
"""Seconds after which a run hangs, however loaded the machine is."""


def two_processes(*arguments, epochs):
    """`torchrun` with two processes, in a process group of its own."""
    launch = [*("-m", "torch.distributed.run"), "--nproc-per-node", "2", "--standalone"]
    train = ["-m", "crossalign", "train", *arguments, "--set", f"training.epochs={epochs}"]
    return subprocess.Popen(
        [sys.executable, *launch, *train],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def history(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def begun(process: subprocess.Popen, folder: Path) -> None:
    """Wait for the first epoch."""
    deadline = time.monotonic() + WAIT
    while not (folder / "history.jsonl").exists() or not history(folder):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended_in_one_line(process: subprocess.Popen, folder: Path, *reasons: str) -> None:
    _, error = process.communicate(timeout=WAIT)
    assert process.returncode != 0
    (said,) = [line for line in error.splitlines() if line.startswith("crossalign: ")]
    assert said in [f"crossalign: {reason}; continue with --resume" for reason in reasons]
    assert (folder / "checkpoint.pt").exists()


def test_a_run_of_two_is_killed_and_resumed(tmp_path, capsys):
    """It says so once, and becomes the run that one process makes, files and print-out."""
    one, two = tmp_path / "one", tmp_path / "two"
    process = two_processes(*SMALL, "--quiet", "--out", two, epochs=FOREVER)
    begun(process, two)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    lost = "another process of this training was lost: it ended or was killed"
    ended_in_one_line(process, two, lost, "interrupted")  # what is noticed first, it or torchrun

    done = len(history(two))
    process = two_processes(*SMALL, "--resume", two, epochs=done + 2)
    out, error = process.communicate(timeout=WAIT)
    assert process.returncode == 0, error
    assert error.count("[00:00<?") == 1, "one process shows a bar"
    assert main(["train", *SMALL, "--set", f"training.epochs={done + 2}", "--out", str(one)]) == 0
    assert out == capsys.readouterr().out.replace(str(one), str(two))
    assert history(two) == history(one)
    assert {file.name for file in two.iterdir()} == {file.name for file in one.iterdir()}
    facts, others = (json.loads((run / "metrics.json").read_text()) for run in (one, two))
    assert (others["valid"], others["test"]) == (facts["valid"], facts["test"])


def test_interrupted_by_the_keyboard(tmp_path):
    """Ctrl-C reaches all processes."""
    process = two_processes(*SMALL, "--quiet", "--out", tmp_path / "run", epochs=FOREVER)
    begun(process, tmp_path / "run")
    os.killpg(process.pid, signal.SIGINT)
    ended_in_one_line(process, tmp_path / "run", "interrupted")


def test_only_train_takes_several_processes(monkeypatch, request, capsys):
    """The first process to refuse says so, and the second leaves it at that."""
    request.addfinalizer(torchrun.speaks.cache_clear)
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    for rank in range(2):
        told = {"LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost"}
        for name, value in (told | {"MASTER_PORT": store.port}).items():
            monkeypatch.setenv(name, str(value))
        torchrun.speaks.cache_clear()
        assert main(["describe", "planted"]) == 2
        said = "crossalign: of all commands, only train can be started by torchrun\n"
        assert capsys.readouterr().err == (said if rank == 0 else "")
