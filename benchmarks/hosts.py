"""Training on 1, 2 and 4 hosts: memory of each, bytes over the wire, steps a second.

    python benchmarks/hosts.py [--hosts 1 2 4] [--pairs 600000] [--users 600000] [--items 100000]
        [--method metis] [--alignment none] [--limit MIB] [--out runs/hosts]

A generated graph with two content features of 128 numbers is written as a data folder, cut by
`crossalign partition` into as many parts as there are hosts (with its seconds and peak memory), and
trained by `crossalign train --hosts` for three epochs of which only the last one is evaluated. Each
host is a network namespace and a control group of this machine (`host_networks.py`), so that all
its bytes are counted; all share its cores. What Python and its libraries take is shown by a run on
60 users and 40 items. Beside what was measured stands what the formulas of
docs/distributed.md say.

With `--limit`, the first and the last number of hosts are tried once more with hosts that have
only so much memory. Needs root, Linux and `ip`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from host_networks import Host, networks
from host_paper import Paper
from powerlaw import powerlaw
from sampled import content

from crossalign.fileio import read_json, write_text

MIB = 1 << 20
EPOCHS = 3
POLL = 0.2
EMPTY = (60, 40, 480)
CROSSALIGN = (sys.executable, "-m", "crossalign")


@dataclass(frozen=True)
class Cut:
    """What partitioning took."""

    parts: int
    method: str
    seconds: float
    peak_mib: float
    cut: float
    """Share of the training pairs between two parts."""

    def line(self) -> str:
        """One printed line."""
        return (
            f"{self.parts} part(s) by {self.method}: {self.seconds:.0f} s, peak "
            f"{self.peak_mib:,.0f} MiB, {self.cut:.1%} of the pairs cut"
        )


@dataclass(frozen=True)
class Trained:
    """What a training on hosts took; of memory, the largest of all hosts.

    Attributes:
        hosts: how many.
        host_mib: peak of what processes and /dev/shm of a host held, in epochs without evaluation.
        evaluated_mib: the same, until the end of the run.
        server_mib: peak of a server's resident set, with its share of /dev/shm.
        trainer_mib: of a trainer's.
        steps_per_second: of the second epoch.
        wire_mib: that a step sends from all hosts together, in the second epoch.
        said: standard error of the launcher; empty if it ended well.
    """

    hosts: int
    host_mib: float
    evaluated_mib: float
    server_mib: float
    trainer_mib: float
    steps_per_second: float
    wire_mib: float
    said: str


class Watch:
    """Looks at the hosts of a run while it lasts.

    Args:
        hosts: them.
        run: run folder.
    """

    def __init__(self, hosts: Sequence[Host], run: Path) -> None:
        self.hosts = hosts
        self.run = run
        self.memory = [0] * (EPOCHS + 1)
        self.wire = [0] * (EPOCHS + 1)
        self.roles = {"server": 0.0, "trainer": 0.0}

    def until_over(self, process: subprocess.Popen[str]) -> None:
        """Look again and again; peaks and counters by the number of epochs that are written."""
        while process.poll() is None:
            history = self.run / "history.jsonl"
            epoch = history.read_text().count("\n") if history.exists() else 0
            if epoch and not self.wire[epoch]:
                self.wire[epoch] = sum(host.wire() for host in self.hosts)
            held = max(host.memory() for host in self.hosts)
            self.memory[epoch] = max(self.memory[epoch], held)
            for host in self.hosts:
                for role, peak in host.peaks().items():
                    self.roles[role] = max(self.roles[role], peak)
            time.sleep(POLL)


def write_data(folder: Path, users: int, items: int, pairs: int) -> None:
    """A data folder with a split column; one of each of the 1000 busiest users is held out."""
    folder.mkdir(parents=True)
    drawn = powerlaw(users, items, pairs)
    busiest = drawn.pairs[0].bincount().topk(min(1000, users // 2)).indices
    split = np.full(pairs, "train", dtype=object)
    held = np.searchsorted(drawn.pairs[0].numpy(), busiest.numpy())
    split[held[::2]], split[held[1::2]] = "valid", "test"
    columns = {"user": drawn.pairs[0].numpy(), "item": drawn.pairs[1].numpy(), "split": split}
    pd.DataFrame(columns).to_parquet(folder / "interactions.parquet", index=False)
    for name, table in content(items).items():
        np.save(folder / f"{name}_feat.npy", table)


def partitioned(data: Path, parts: Path, n: int, options: argparse.Namespace) -> Cut:
    """Cut the data by the command, in a process whose peak is its own."""
    without = "lists" if options.alignment == "none" else "similar"
    command = [*CROSSALIGN, "partition", str(data), "--parts", str(n), "--out", str(parts)]
    command += ["--method", options.method, "--without", without, "--quiet"]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"crossalign partition ended with {process.returncode}: {said}")
    held = read_json(parts / "parts.json")
    elapsed, share = time.monotonic() - started, held["cut"] / sum(held["pairs"])
    return Cut(n, options.method, elapsed, used.ru_maxrss / 1024, share)


def trained(
    parts: Path, n: int, folder: Path, options: argparse.Namespace, *, limit: int | None = None
) -> Trained:
    """Train on `n` hosts of their own."""
    folder.mkdir(parents=True)
    run = folder / "run"
    with networks(n, folder, limit=limit) as nets:
        command = [*CROSSALIGN, "train", "--parts", str(parts), "--hosts", str(nets.file)]
        command += ["--backbone", "lightgcn", "--alignment", options.alignment, "--quiet"]
        for setting in _settings(options):
            command += ["--set", setting]
        environment = os.environ | {"CROSSALIGN_SHELL": str(nets.shell), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*command, "--out", str(run)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        watch = Watch(nets.hosts, run)
        watch.until_over(process)
        said = process.communicate()[1].strip() if process.returncode else ""
    return _read(watch, run, n, said, options)


def _settings(options: argparse.Namespace) -> list[str]:
    chosen = {"batch_size": options.batch, "epochs": EPOCHS, "eval_every": EPOCHS}
    chosen |= {"checkpoint_every": EPOCHS, "lazy_embeddings": True}
    settings = [f"training.{name}={value}" for name, value in chosen.items()]
    settings.append(f"training.fanout=[{', '.join(map(str, options.fanout))}]")
    settings += [f"backbone.dim={options.dim}", f"backbone.n_layers={len(options.fanout)}"]
    return settings + (["alignment.n_prototypes=256"] if options.alignment == "cross" else [])


def _read(watch: Watch, run: Path, n: int, said: str, options: argparse.Namespace) -> Trained:
    timings = run / "timings.jsonl"
    rows = [json.loads(line) for line in timings.read_text().splitlines()] if not said else []
    steps = -(-options.train // options.batch)
    return Trained(
        hosts=n,
        host_mib=max(watch.memory[: EPOCHS - 1]) / MIB,
        evaluated_mib=max(watch.memory) / MIB,
        server_mib=watch.roles["server"],
        trainer_mib=watch.roles["trainer"],
        steps_per_second=steps / rows[1]["train"] if rows else 0.0,
        wire_mib=(watch.wire[2] - watch.wire[1]) / steps / MIB,
        said=said,
    )


def compare(options: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, object]]]:
    """An empty run; then for each number of hosts, cut and train."""
    cuts, full, first = [], [], options.hosts[0]
    write_data(folder / "tiny", *EMPTY)
    partitioned(folder / "tiny", folder / "tiny-parts", first, options)
    empty = trained(folder / "tiny-parts", first, folder / "empty", options)
    for n in options.hosts:
        cuts.append(partitioned(options.data, folder / f"parts{n}", n, options))
        print(cuts[-1].line(), flush=True)
        full.append(trained(folder / f"parts{n}", n, folder / f"hosts{n}", options))
        for row in _lines(full[-1], empty, Paper.of(options, n, cuts[-1].cut)):
            print(row, flush=True)
    sides = {"cut": cuts, "empty": [empty], "trained": full}
    return {name: [asdict(row) for row in rows] for name, rows in sides.items()}


def _lines(full: Trained, empty: Trained, paper: Paper) -> list[str]:
    """What was measured, and what the formulas say, of one number of hosts."""
    if full.said or empty.said:
        return [f"{full.hosts} host(s): {full.said or empty.said}"]
    own = full.host_mib - empty.host_mib
    evaluated = full.evaluated_mib - empty.evaluated_mib
    return [
        f"{full.hosts} host(s): server {full.server_mib:,.0f} MiB, trainer {full.trainer_mib:,.0f} "
        f"MiB; a host {full.host_mib:,.0f} MiB, of them {empty.host_mib:,.0f} in an empty run; "
        f"evaluating {full.evaluated_mib:,.0f} MiB; {full.steps_per_second:.2f} steps/s; "
        f"{full.wire_mib:.2f} MiB a step",
        f"    by formula: {own:,.0f} MiB of a host beside the empty run are "
        f"{paper.training_mib:,.0f}, evaluating {evaluated:,.0f} are {paper.evaluating_mib:,.0f}; "
        f"a step {paper.wire_mib:.2f} MiB",
    ]


def limited(options: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """The first and the last number of hosts, each with hosts of little memory."""
    found = []
    for n in (options.hosts[0], options.hosts[-1]):
        place = folder / f"limited{n}"
        shutil.rmtree(place, ignore_errors=True)
        done = trained(folder / f"parts{n}", n, place, options, limit=options.limit * MIB)
        end = done.said or f"trained, peak of a host {done.evaluated_mib:,.0f} MiB"
        print(f"{n} host(s) of {options.limit} MiB each: {end}", flush=True)
        found.append(asdict(done))
    return found


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--pairs", type=int, default=600_000)
    parser.add_argument("--users", type=int, default=600_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32768)
    parser.add_argument("--fanout", type=int, nargs="+", default=[3, 2], help="one a layer")
    parser.add_argument("--method", choices=["metis", "random"], default="metis")
    parser.add_argument("--alignment", choices=["none", "cross"], default="none")
    parser.add_argument("--limit", type=int, help="MiB of a host's memory")
    parser.add_argument("--only-limit", action="store_true", help="with parts that are there")
    parser.add_argument("--out", type=Path, default="runs/hosts")
    options = parser.parse_args()
    folder = options.out.absolute()
    options.data = folder / "data"
    options.train = options.pairs - min(1000, options.users // 2)
    results: dict[str, object] = {}
    if not options.only_limit:
        write_data(options.data, options.users, options.items, options.pairs)
        results = dict(compare(options, folder))
    if options.limit:
        results["limited"] = limited(options, folder)
    about = {name: str(value) for name, value in vars(options).items()}
    name = "limited.json" if options.only_limit else "hosts.json"
    write_text(folder / name, json.dumps({**about, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
