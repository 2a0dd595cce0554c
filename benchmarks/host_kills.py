"""Kills a trainer, a server and the launcher of a training on two hosts, each at random moments.

    python benchmarks/host_kills.py [--times 10] [--victims trainer server launcher] [--seed 0]
        [--out runs/host_kills]

Both hosts are on this machine (`--hosts local:2`), the data are planted and small. A first run that
nobody disturbs says how long one takes; the moments are spread over that, from the start of the
first process to the last metrics. After every kill it looks for what must hold:

- all processes of the run are gone within a minute (they are known by a mark in their environment);
- one line on the standard error, which names who was killed (a killed launcher says nothing);
- nothing of the run in /dev/shm, nothing but torch's cache in its folder for temporary files;
- `--resume`, or the same command again where the run folder was not begun, trains to the end: every
  third time on two hosts as before, else in one process on one part.

What does not hold is printed, and the exit code is then 1. Kills that are in the folder already are
not repeated. Needs Linux and the right to mount.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from marked_run import Run

from crossalign import cli
from crossalign.fileio import read_json, write_text

SMALL = ("data.planted_users=60", "data.planted_items=40")
VICTIMS = ("trainer", "server", "launcher")
LONGEST = 60.0
"""Seconds within which all must have ended."""
STUCK = 600.0
SHM = Path("/dev/shm")
TORCH = "torchinductor_*"
"""A cache that torch makes for all its processes, empty here."""


@dataclass
class Kill:
    """One kill and what came after it.

    Attributes:
        who: the victim, as the message must name it; `launcher` is nameless.
        moment: seconds after the start of the run.
        epoch: the last epoch that the run had written.
        seconds: from the kill to the end of the last process.
        said: the standard error of the launcher.
        resumed: how the run went on, `--resume` or `again`.
        wrong: what did not hold.
    """

    who: str
    moment: float
    epoch: int = 0
    seconds: float = 0.0
    said: str = ""
    resumed: str = ""
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One printed line."""
        end = f"{self.who:24s} at {self.moment:5.1f} s, epoch {self.epoch:3d}: all ended after "
        rest = "; ".join(self.wrong) or f"went on by {self.resumed}"
        return f"{end}{self.seconds:4.1f} s, {rest}"


def undisturbed(run: Run) -> float:
    """Seconds of a whole run."""
    started = time.monotonic()
    process = run.start()
    _, said = process.communicate(timeout=STUCK)
    if process.returncode:
        raise SystemExit(f"the run that nobody disturbed ended with {process.returncode}: {said}")
    return time.monotonic() - started


def kill(run: Run, kind: str, moment: float, host: int, *, here: bool) -> Kill | None:
    """Start a run and kill one of its processes; None if it was over before.

    A victim that does not exist yet at the moment is killed as soon as it does.
    """
    shared = {path.name for path in SHM.iterdir()}
    process, started = run.start(), time.monotonic()
    time.sleep(moment)
    victim = process.pid if kind == "launcher" else None
    while victim is None and process.poll() is None:
        victim = _victim(run.processes(), kind, host)
    if victim is None or process.poll() is not None:
        process.communicate()
        return None
    done = Kill(_name(kind, host), time.monotonic() - started, run.epoch())
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    while run.processes() and time.monotonic() < killed + 2 * LONGEST:
        time.sleep(0.05)
    done.seconds = time.monotonic() - killed
    if left := run.processes():
        done.wrong.append(f"{len(left)} processes are left: {sorted(left)}")
        for number in left:
            os.kill(number, signal.SIGKILL)
    done.said = process.communicate(timeout=STUCK)[1]
    done.wrong += _wrong(done, run, kind, process.returncode)
    if names := {path.name for path in SHM.iterdir()} - shared:
        done.wrong.append(f"in {SHM}: {', '.join(sorted(names))}")
    done.resumed, why = _go_on(run, here=here)
    done.wrong += why
    return done


def _victim(processes: Mapping[int, Mapping[str, str]], kind: str, host: int) -> int | None:
    number = "CROSSALIGN_TRAINER" if kind == "trainer" else "DGL_SERVER_ID"
    role = "client" if kind == "trainer" else "server"
    for process, own in processes.items():
        if own.get("DGL_ROLE") == role and own.get(number) == str(host):
            return process
    return None


def _name(kind: str, host: int) -> str:
    """As the launcher calls it."""
    address = f"127.0.0.{host + 1}"
    names = {"trainer": f"trainer {host} on {address}", "server": f"server of {address}"}
    return names.get(kind, kind)


def _wrong(done: Kill, run: Run, kind: str, code: int) -> list[str]:
    """What is not as it should be after the end."""
    wrong = []
    if done.seconds > LONGEST:
        wrong.append(f"took {done.seconds:.0f} s")
    lines = [line for line in done.said.splitlines() if line.strip()]
    expected = f"crossalign: {done.who} was killed (SIGKILL); continue with --resume"
    if kind != "launcher" and (lines != [expected] or code != 2):
        wrong.append(f"exit {code}, said {lines}")
    if kind == "launcher" and lines:
        wrong.append(f"said {lines}")
    if left := [path.name for path in run.temporary.iterdir() if not path.match(TORCH)]:
        wrong.append(f"left {', '.join(left)}")
    return wrong


def _go_on(run: Run, *, here: bool) -> tuple[str, list[str]]:
    """Let the run go on to its end; how, and what went wrong."""
    before = run.epoch()
    resume = (run.run_folder / "config.yaml").exists()
    how = f"{'--resume' if resume else 'again'} {'in one process' if here else 'on two hosts'}"
    process = run.start(resume=resume, hosts=1 if here else 2)
    said = process.communicate(timeout=STUCK)[1]
    if process.returncode:
        return how, [f"{how} ended with {process.returncode}: {said.strip()}"]
    lines = (run.run_folder / "history.jsonl").read_text().splitlines()
    epochs = [json.loads(line)["epoch"] for line in lines]
    if epochs != list(range(1, run.epochs + 1)):
        return how, [f"{how} gave epochs {epochs}, after {before}"]
    if not (run.run_folder / "model.safetensors").is_file():
        return how, [f"{how} left no model.safetensors"]
    return how, []


def kills(options: argparse.Namespace, folder: Path) -> list[Kill]:
    """All of them, printed and written as they come."""
    parts, file = folder / "parts", folder / "kills.json"
    for n in (1, 2):
        if not (parts / f"{n}").exists():
            _partition(parts / f"{n}", n)
    held = read_json(file) if file.exists() else {}
    if not held:
        held = {"undisturbed": undisturbed(Run(folder / "undisturbed", parts, options.epochs))}
        write_text(file, json.dumps(held))
    whole = held["undisturbed"]
    print(f"undisturbed: {options.epochs} epochs in {whole:.1f} s", flush=True)
    found = [Kill(**row) for row in held.get("kills", [])]
    order = random.Random(options.seed).sample(range(options.times), options.times)
    every = [(n, kind) for n in order for kind in options.victims]
    for number, (n, kind) in enumerate(every[len(found) :], len(found)):
        rng = random.Random(f"{options.seed} {kind} {n}")
        share, host, done = (n + rng.random()) / options.times, rng.randrange(2), None
        while done is None:
            own = folder / f"{kind}{n}"
            shutil.rmtree(own, ignore_errors=True)
            here = number // len(options.victims) % 3 != 0
            done = kill(Run(own, parts, options.epochs), kind, share * whole, host, here=here)
            share *= 0.9  # it was over: earlier, then
        print(done.line(), flush=True)
        found.append(done)
        rows = [asdict(one) for one in found]
        write_text(file, json.dumps({"undisturbed": whole, "kills": rows}, indent=1) + "\n")
    return found


def _partition(folder: Path, n: int) -> None:
    command = ["partition", "planted", "--parts", f"{n}", "--out", str(folder)]
    command += ["--method", "random", "--quiet"]
    for setting in SMALL:
        command += ["--set", setting]
    with contextlib.redirect_stdout(io.StringIO()):
        if cli.main(command):
            raise SystemExit(f"the data could not be cut into {n} part(s)")


def summary(done: Sequence[Kill]) -> str:
    """A table of victims."""
    lines = ["| killed | kills | seconds to the end, median | longest | not as it should be |"]
    lines.append("|---|---|---|---|---|")
    for kind in VICTIMS:
        own = [one for one in done if one.who.startswith(kind)]
        if own:
            seconds = [one.seconds for one in own]
            wrong = sum(bool(one.wrong) for one in own)
            middle, most = statistics.median(seconds), max(seconds)
            lines.append(f"| {kind} | {len(own)} | {middle:.1f} | {most:.1f} | {wrong} |")
    return "\n".join(lines)


def main() -> int:
    """Parse, kill, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=10, help="kills of each victim")
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=list(VICTIMS))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default="runs/host_kills", help="folder")
    options = parser.parse_args()
    done = kills(options, options.out.absolute())
    print(summary(done))
    return int(any(one.wrong for one in done))


if __name__ == "__main__":
    sys.exit(main())
