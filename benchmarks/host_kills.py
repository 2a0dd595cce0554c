"""Kills a trainer, a server and the launcher of a training on two hosts, each at random moments.

    python benchmarks/host_kills.py [--times 10] [--victims trainer server launcher] [--seed 0]
        [--out runs/host_kills]

Both hosts are on this machine (`--hosts local:2`), the data are planted and small. A first run that
nobody disturbs says how long one takes; the moments are spread over that, from the start of the
first process to the last metrics. After every kill it looks for what must hold:

- all processes of the run are gone within a minute (they are known by a mark in their environment);
- one line on the standard error, which names who was killed (a killed launcher says nothing);
- nothing of the run in /dev/shm, nothing in its folder for temporary files;
- `--resume`, or the same command again where the run folder was not begun, trains to the end.

What does not hold is printed, and the exit code is then 1. Needs Linux and the right to mount.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from crossalign.fileio import write_text

SMALL = ("data.planted_users=60", "data.planted_items=40")
SETTINGS = ("backbone.dim=8", "training.batch_size=64", "training.learning_rate=0.02")
SETTINGS += ("training.patience=1000", "alignment.n_prototypes=16")
VICTIMS = ("trainer", "server", "launcher")
MARK = "CROSSALIGN_MARK"
LONGEST = 60.0
"""Seconds within which all must have ended."""
STUCK = 600.0
SHM = Path("/dev/shm")


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


class Run:
    """One `crossalign train` on two hosts.

    Args:
        folder: where everything of this run goes.
        parts: partition folder.
        epochs: that it trains.
    """

    def __init__(self, folder: Path, parts: Path, epochs: int) -> None:
        self.folder = folder
        self.parts = parts
        self.epochs = epochs
        self.temporary = folder / "tmp"
        self.run_folder = folder / "run"
        self.temporary.mkdir(parents=True)

    def start(self, *, resume: bool = False) -> subprocess.Popen[str]:
        """Start it, or let it go on; its processes carry a new mark."""
        self.mark = uuid.uuid4().hex
        place = ["--resume" if resume else "--out", str(self.run_folder)]
        command = [sys.executable, "-m", "crossalign", "train", "--parts", str(self.parts)]
        command += ["--hosts", "local:2", "--quiet", *place]
        settings: Sequence[str] = () if resume else SETTINGS
        for setting in (*settings, f"training.epochs={self.epochs}"):
            command += ["--set", setting]
        if not resume:
            command += ["--backbone", "lightgcn", "--alignment", "cross"]
        own = {MARK: self.mark, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=os.environ | own, stdout=pipe, stderr=pipe, text=True)

    def processes(self) -> dict[int, Mapping[str, str]]:
        """Id -> environment of every living process of the last start."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and (own := _environment(entry)).get(MARK) == self.mark:
                found[int(entry.name)] = own
        return found

    def epoch(self) -> int:
        """Epochs that it has written."""
        history = self.run_folder / "history.jsonl"
        return history.read_text().count("\n") if history.exists() else 0


def _environment(process: Path) -> dict[str, str]:
    """Of an entry of /proc; empty for what has ended, and for the kernel's own."""
    try:
        held = (process / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in held.split("\0") if "=" in line)


def undisturbed(run: Run) -> float:
    """Seconds of a whole run."""
    started = time.monotonic()
    process = run.start()
    _, said = process.communicate(timeout=STUCK)
    if process.returncode:
        raise SystemExit(f"the run that nobody disturbed ended with {process.returncode}: {said}")
    return time.monotonic() - started


def kill(run: Run, kind: str, moment: float, host: int) -> Kill | None:
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
    done.resumed, why = _go_on(run)
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
    if left := list(run.temporary.iterdir()):
        wrong.append(f"left {', '.join(path.name for path in left)}")
    return wrong


def _go_on(run: Run) -> tuple[str, list[str]]:
    """Let the run go on to its end; how, and what went wrong."""
    before = run.epoch()
    resume = (run.run_folder / "config.yaml").exists()
    process = run.start(resume=resume)
    _, said = process.communicate(timeout=STUCK)
    how, wrong = "--resume" if resume else "again", []
    if process.returncode:
        wrong.append(f"{how} ended with {process.returncode}: {said.strip()}")
    lines = (run.run_folder / "history.jsonl").read_text().splitlines() if not wrong else []
    epochs = [json.loads(line)["epoch"] for line in lines]
    if not wrong and epochs != list(range(1, run.epochs + 1)):
        wrong.append(f"{how} gave epochs {epochs}, after {before}")
    if not wrong and not (run.run_folder / "model.safetensors").is_file():
        wrong.append(f"{how} left no model.safetensors")
    return how, wrong


def kills(options: argparse.Namespace, folder: Path) -> list[Kill]:
    """All of them, printed as they come."""
    parts = folder / "parts"
    command = [sys.executable, "-m", "crossalign", "partition", "planted", "--parts", "2"]
    command += ["--method", "random", "--quiet", "--out", str(parts)]
    for setting in SMALL:
        command += ["--set", setting]
    subprocess.run(command, check=True, capture_output=True)
    whole = undisturbed(Run(folder / "undisturbed", parts, options.epochs))
    print(f"undisturbed: {options.epochs} epochs in {whole:.1f} s", flush=True)
    rng, done = random.Random(options.seed), []
    for kind in options.victims:
        for n in range(options.times):
            share = (n + rng.random()) / options.times
            host, found = rng.randrange(2), None
            while found is None:
                own = folder / f"{kind}{n}"
                shutil.rmtree(own, ignore_errors=True)
                found = kill(Run(own, parts, options.epochs), kind, share * whole, host)
                share *= 0.9  # it was over: earlier, then
            print(found.line(), flush=True)
            done.append(found)
    return done


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
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default="runs/host_kills", help="a new folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    done = kills(options, options.out.absolute())
    print(summary(done))
    rows = [asdict(one) for one in done]
    write_text(options.out / "kills.json", json.dumps(rows, indent=1) + "\n")
    return int(any(one.wrong for one in done))


if __name__ == "__main__":
    sys.exit(main())
