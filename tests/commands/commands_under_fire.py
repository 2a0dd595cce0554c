"""Runs commands in peace and under SIGKILL, one for each line of JSON on standard input.

A line has `arguments`, the folder `place`, and a `seed`. The command runs once in `place/peace` and
once in `place/fire`, where it is killed `KILLS` times at random moments and then left alone. The
answer is a line of JSON: when it was killed, as parts of the time it takes.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from crossalign.cli import main

KILLS = 2
WAIT = 600
"""Seconds after which a command hangs, however loaded the machine is."""


def command(arguments: list[str], folder: Path) -> None:
    """Run a command in `folder`, its standard output in `printed.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    with Path("printed.txt").open("w") as printed:
        sys.stdout = printed
        assert main(arguments) == 0


def fire(arguments: list[str], place: Path, seed: int) -> list[float]:
    """The moments at which the command was killed, as parts of the time it takes in peace."""
    from under_fire import finishes

    started = time.monotonic()
    assert finishes(partial(command, arguments, place / "peace"), wait=WAIT)
    usual = time.monotonic() - started
    chance = random.Random(seed)
    moments = [chance.uniform(0.05, 0.95) for _ in range(KILLS)]
    hit = [
        moment
        for moment in moments
        if not finishes(partial(command, arguments, place / "fire"), moment * usual)
    ]
    assert finishes(partial(command, arguments, place / "fire"), wait=WAIT)
    return hit


def warm_up(commands: list[list[str]]) -> None:
    """Run commands here, so that every fork has what they load late."""
    with tempfile.TemporaryDirectory() as folder:
        for arguments in commands:
            command(arguments, Path(folder))
        os.chdir("/")
    sys.stdout = sys.__stdout__


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))  # where under_fire lies
    torch.set_num_threads(1)
    # Plots of single runs are most of the time: kills would hit little else.
    with patch("crossalign.report.run_report.line_plot", return_value=""):
        warm_up(json.loads(sys.argv[1]))
        for line in sys.stdin:
            asked = json.loads(line)
            hit = fire(asked["arguments"], Path(asked["place"]), asked["seed"])
            print(json.dumps(hit), flush=True)
