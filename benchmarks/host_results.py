"""Test metrics of two hosts beside those of one machine, with the same settings.

    python benchmarks/host_results.py --data $CROSSALIGN_DATA/baby [--seeds 0 1 2]
        [--work lightgcn lightgcn+cross freedom freedom+cross] [--set training.epochs=20 ...]
        [--out runs/host_results]

Both sides train on sampled blocks of ten neighbours, with lazy embeddings; the hosts are on this
machine (`--hosts local:2`), with the data cut by METIS. Runs that are finished are not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from crossalign.fileio import read_json, write_text

CROSSALIGN = (sys.executable, "-m", "crossalign")
SIDES = ("one machine", "two hosts")
SETTINGS: dict[str, list[str]] = {
    "lightgcn": [],
    "freedom": ["backbone.dropout=0", "backbone.modality_weights={image: 0.1, text: 0.9}"],
    "cross": [
        "alignment.ila_weight=0.01",
        "alignment.cla_weight=1e-3",
        "alignment.cna_weight=0.01",
    ],
    "none": [],
}
"""Weights of the presets for Baby; FREEDOM on parts knows no dropout of edges."""
COMMON = ("training.sampling=blocks", "training.fanout=10", "training.lazy_embeddings=true")
METRIC = "recall@20"


def command(side: str, work: str, seed: int, options: argparse.Namespace) -> list[str]:
    """`crossalign train` for one run, without its folder."""
    backbone, _, alignment = work.partition("+")
    data = [str(options.data)]
    if side != "one machine":
        data = ["--parts", str(options.out / "parts"), "--hosts", "local:2"]
    made = [*CROSSALIGN, "train", *data, "--backbone", backbone, "--seed", str(seed), "--quiet"]
    made += ["--alignment", alignment or "none"]
    own = (*SETTINGS[backbone], *SETTINGS[alignment or "none"])
    for setting in (*COMMON, *own, *options.set):
        made += ["--set", setting]
    return made


def metrics(side: str, work: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """The run's test metric, epochs and seconds; it is made if it is not there."""
    name = f"{work}-{side.replace(' ', '-')}-{seed}"
    folder = options.out / name
    if not (folder / "metrics.json").exists():
        place = ["--out", str(folder)]
        subprocess.run([*command(side, work, seed, options), *place], check=True)
    held = read_json(folder / "metrics.json")
    rows = [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]
    train = statistics.mean(row["train"] for row in rows)
    return {METRIC: held["test"][METRIC], "epochs": len(rows), "epoch_seconds": train}


def line(work: str, side: str, seeds: Sequence[dict[str, float]]) -> str:
    """A row of the table."""
    values = [one[METRIC] for one in seeds]
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    each = ", ".join(f"{value:.4f}" for value in values)
    epochs = ", ".join(f"{one['epochs']}" for one in seeds)
    seconds = statistics.mean(one["epoch_seconds"] for one in seeds)
    return (
        f"| {work} | {side} | {statistics.mean(values):.4f}{spread} | {each} | {epochs} | "
        f"{seconds:.1f} |"
    )


def main() -> None:
    """Parse, partition, train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    works = ["lightgcn", "lightgcn+cross", "freedom", "freedom+cross"]
    parser.add_argument("--work", nargs="+", choices=works, default=works)
    parser.add_argument("--set", nargs="+", default=[], help="further settings of both sides")
    parser.add_argument("--out", type=Path, default="runs/host_results")
    options = parser.parse_args()
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.out / "parts").exists():
        cut = [*CROSSALIGN, "partition", str(options.data), "--parts", "2", "--quiet"]
        subprocess.run([*cut, "--out", str(options.out / "parts")], check=True)
    results = {}
    print(f"| trained | where | test {METRIC} | each seed | epochs | seconds an epoch |")
    print("|---|---|---|---|---|---|")
    for work in options.work:
        for side in SIDES:
            found = [metrics(side, work, seed, options) for seed in options.seeds]
            print(line(work, side, found), flush=True)
            results[f"{work}, {side}"] = dict(zip(options.seeds, found, strict=True))
    about = {"seeds": options.seeds, "set": options.set}
    write_text(options.out / "results.json", json.dumps({**about, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
