"""Kills commands many times and compares what they leave with what is left in peace.

    python tests/commands/kill_many.py --kills 200 --out kills.json

The commands are those of `test_kill_and_continue` that train, search or write files. Each round
begins in an empty folder, is killed up to three times at random moments, and is then let finish.
`--commands tune encode` kills these alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from test_kill_and_continue import COMMANDS, GOES_ON, ONE_THREAD, SCRIPT, contents, write_given

CHOSEN = ("train", "compare", "tune", "neighbors", "export", "encode")
KILLS_OF_A_ROUND = 3


def start(given: dict[str, str]) -> subprocess.Popen[str]:
    """The script that kills, warm and with a finished run."""
    train = ["train", "--config", given["FILE"], "--out", given["RUN"], "--quiet"]
    return subprocess.Popen(
        [sys.executable, SCRIPT, json.dumps([train])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | ONE_THREAD,
    )  # fmt: skip


def ask(script: subprocess.Popen[str], what: dict[str, Any]) -> tuple[float, list[float]]:
    """One round of one command."""
    assert script.stdin is not None
    assert script.stdout is not None
    script.stdin.write(json.dumps(what) + "\n")
    script.stdin.flush()
    usual, hit = json.loads(script.stdout.readline())
    return usual, hit


def kill_command(
    script: subprocess.Popen[str], name: str, given: dict[str, str], kills: int, seed: int
) -> dict[str, Any]:
    """Rounds of one command until it was killed `kills` times; what came out."""
    words = [given.get(word, word) for word in COMMANDS[name]]
    found: dict[str, Any] = {"kills": 0, "rounds": 0, "differing": []}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        what = {"arguments": words, "place": folder, **GOES_ON.get(name, {})}
        while found["kills"] < kills:
            wanted = min(KILLS_OF_A_ROUND, kills - found["kills"])
            usual, hit = ask(script, {**what, "seed": seed + found["rounds"], "kills": wanted})
            what["usual"] = usual
            peace, fire = contents(place / "peace"), contents(place / "fire")
            odd = sorted(
                file for file in peace.keys() | fire.keys() if peace.get(file) != fire.get(file)
            )
            if odd:
                found["differing"].append({"moments": hit, "files": odd})
            found["kills"] += len(hit)
            found["rounds"] += 1
            shutil.rmtree(place / "fire")
    return {**found, "seconds_in_peace": round(usual, 2)}


def main() -> int:
    """Kill all commands about equally often; 0 if nothing differed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="in all (default 200)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="of the moments")
    parser.add_argument(
        "--commands", nargs="+", choices=CHOSEN, default=CHOSEN, help="which ones (default all)"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the figures")
    options = parser.parse_args()
    started = time.monotonic()
    found: dict[str, Any] = {"seed": options.seed, "commands": {}}
    with tempfile.TemporaryDirectory() as folder:
        given = write_given(Path(folder))
        script = start(given)
        for number, name in enumerate(options.commands):
            share, rest = divmod(options.kills, len(options.commands))
            kills = share + (number < rest)
            found["commands"][name] = kill_command(script, name, given, kills, options.seed)
            found["minutes"] = round((time.monotonic() - started) / 60, 1)
            options.out.write_text(json.dumps(found, indent=1) + "\n")
            print(name, found["commands"][name], flush=True)
        script.communicate(timeout=60)
    return int(any(of["differing"] for of in found["commands"].values()))


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))
    raise SystemExit(main())
