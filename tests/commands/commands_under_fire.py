"""Runs commands in peace and under SIGKILL, one for each line of JSON on standard input.

A line has `arguments`, the folder `place`, a `seed`, and perhaps `again`, the command that goes on
once the file `begun` is there. The command runs once in `place/peace`, unless the line says how
many seconds (`usual`) it took there, and once in `place/fire`, where it is killed `kills` times at
random moments and then left alone. The answer is a line of JSON: seconds in peace, and when it was
killed, as parts of them.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import tqdm

from crossalign.cli import main

KILLS = 2
WAIT = 240
"""Seconds after which a command hangs, however loaded the machine is: it takes about one."""


def command(asked: dict[str, Any], folder: Path) -> None:
    """Run a command in `folder`, its standard output in `printed.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    faulthandler.dump_traceback_later(WAIT - 10, file=sys.__stderr__)  # where it hangs
    begun = "again" in asked and Path(asked["begun"]).exists()
    with Path("printed.txt").open("w") as printed:
        sys.stdout = printed
        assert main(asked["again"] if begun else asked["arguments"]) == 0
    faulthandler.cancel_dump_traceback_later()


def fire(asked: dict[str, Any]) -> tuple[float, list[float]]:
    """Seconds the command takes in peace, and when it was killed, as parts of them."""
    from under_fire import finishes

    place, usual = Path(asked["place"]), asked.get("usual")
    if usual is None:
        started = time.monotonic()
        assert finishes(partial(command, asked, place / "peace"), wait=WAIT), "hangs in peace"
        usual = time.monotonic() - started
    chance = random.Random(asked["seed"])
    moments = [chance.uniform(0.05, 0.95) for _ in range(asked.get("kills", KILLS))]
    hit = [
        moment
        for moment in moments
        if not finishes(partial(command, asked, place / "fire"), moment * usual)
    ]
    assert finishes(partial(command, asked, place / "fire"), wait=WAIT), f"hangs, killed at {hit}"
    return usual, hit


def warm_up(commands: list[list[str]]) -> None:
    """Run commands here, so that every fork has what they load late.

    Forks share the lock that tqdm has by default: who is killed under it would keep it for ever.
    So would what another thread holds when a fork begins: none may be alive.
    """
    tqdm.tqdm.set_lock(threading.RLock())
    tqdm.tqdm.monitor_interval = 0
    with tempfile.TemporaryDirectory() as folder:
        for arguments in commands:
            command({"arguments": arguments}, Path(folder))
        os.chdir("/")
    sys.stdout = sys.__stdout__
    alive = [
        task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()
    ]
    assert len(alive) == 1, f"threads that a fork would lose: {alive}"


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))  # where under_fire lies
    torch.set_num_threads(1)
    # Plots of single runs are most of the time: kills would hit little else.
    with patch("crossalign.report.run_report.line_plot", return_value=""):
        warm_up(json.loads(sys.argv[1]))
        for line in sys.stdin:
            print(json.dumps(fire(json.loads(line))), flush=True)
