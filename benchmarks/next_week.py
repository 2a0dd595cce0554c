"""A run every week: from nothing, and from last week's.

    python benchmarks/next_week.py $CROSSALIGN_DATA/microlens50k [--content text_feat.npz]
        [--items N] [--users N] [--weeks 5] [--backbone lightgcn] [--set KEY=VALUE ...]
        [--replay N]
        [--out runs/next_week]

The log is a `pairs.tsv` of MicroLens: a user, then the items in the order in which they were
viewed, without times. Times are drawn (seed 0): three users in five are there from the start, the
others arrive later; half stay to the end, the others leave earlier; a user's views lie at even
distances in between, in their order. A week's log is everything up to its end, so that each brings
new rows, new users and new items, and users who are gone stay as they were. The last two fifths of
the new week are held out, by the clock: first the rows to validate on, then those to test on.

Each week is trained from nothing and from the week before's run of its own kind. Seconds are those
of the processor, one thread, reading, graphs, placing and validation included: the clock of the
library is replaced, since machines are shared. Reported is when each reached the best validation
score of the run from nothing. Weeks that are done lie in `next_week.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from crossalign.config import load_config
from crossalign.fileio import read_json, write_text
from crossalign.pipeline import train

OPTIONS = ("training.patience=10",)
HELD_OUT = 0.2
"""Part of the new week for validation, and again for test."""


def timed_rows(file: Path, n_users: int | None, n_items: int | None) -> pd.DataFrame:
    """User, item and a drawn time from 0 to 1, of the largest items and then the largest users."""
    lines = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    counts = Counter(item for _, items in lines for item in items.split())
    chosen = {item for item, _ in counts.most_common(n_items)}
    sequences = {user: [i for i in items.split() if i in chosen] for user, items in lines}
    most = sorted(sequences, key=lambda user: (-len(sequences[user]), user))[:n_users]
    rng = np.random.default_rng(0)
    parts = []
    for user in sorted(most):
        items = sequences[user]
        first = 0.0 if rng.random() < 0.6 else 0.9 * rng.random()
        last = 1.0 if rng.random() < 0.5 else first + (1 - first) * (0.1 + 0.9 * rng.random())
        at = first + (np.arange(len(items)) + 0.5) / len(items) * (last - first)
        parts.append(pd.DataFrame({"user": user, "item": items, "time": at}))
    return pd.concat(parts).drop_duplicates(["user", "item"])


def write_week(folder: Path, rows: pd.DataFrame, week: float, content: Path | None) -> None:
    """A data folder of the rows up to the end of a week, and the content of their items."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows[rows["time"] < week]
    ends = [week - 2 * HELD_OUT, week - HELD_OUT]
    rows = rows.assign(split=np.array(["train", "valid", "test"])[np.digitize(rows["time"], ends)])
    rows.to_csv(folder / "interactions.csv", index=False)
    if content is not None:
        with np.load(content) as given:
            there = np.isin(given["ids"], rows["item"].to_numpy(dtype=str))
            kept = {name: given[name][there] for name in ("ids", "features")}
        np.savez(folder / "text_feat.npz", **kept)


def trained(data: Path, out: Path, options: argparse.Namespace, start: Path | None) -> None:
    """Train on `data`, from the run `start` if there is one."""
    if (out / "metrics.json").is_file():
        return
    replay = [f"training.replay={options.replay}"] if start and options.replay is not None else []
    config = load_config(
        None,
        [*OPTIONS, *options.set, *replay],
        path=str(data),
        backbone=options.backbone,
        alignment=options.alignment,
        start_from=str(start) if start else None,
    )
    resume = (out / "config.yaml").is_file()
    train(config, out, resume=resume, progress=False)


def progress_of(run: Path) -> tuple[list[float], list[float]]:
    """Seconds since the beginning after every epoch, and validation scores."""
    spent = read_json(run / "metrics.json")["seconds"]["prepare"]
    seconds, scores = [], []
    rows = zip(*((run / f"{name}.jsonl").open() for name in ("timings", "history")), strict=True)
    for timing, history in rows:
        took = json.loads(timing)
        spent += took["train"] + took["valid"]
        seconds.append(spent)
        scores.append(json.loads(history)["valid/recall@20"])
    return seconds, scores


def compare(nothing: Path, after: Path) -> dict[str, Any]:
    """When each of two runs of a week reached the best score of the one from nothing."""
    seconds, scores = progress_of(nothing)
    best = int(np.argmax(scores))
    warm_seconds, warm_scores = progress_of(after)
    reached = next((n for n, score in enumerate(warm_scores) if score >= scores[best]), None)
    start = read_json(after / "metrics.json")["started_from"]
    tests = [read_json(run / "metrics.json")["test"]["recall@20"] for run in (nothing, after)]
    return {
        "new_users": start["users"]["new"],
        "new_items": start["items"]["new"],
        "valid": [scores[best], max(warm_scores)],
        "test": tests,
        "epochs": [best + 1, None if reached is None else reached + 1],
        "seconds": [seconds[best], None if reached is None else warm_seconds[reached]],
        "share_of_time": None if reached is None else warm_seconds[reached] / seconds[best],
        "lists_moved@20": start["lists_moved@20"],
        "unchanged_users": start["unchanged_users"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with pairs.tsv")
    parser.add_argument("--content", type=Path, help="text features keyed by item id, .npz")
    parser.add_argument("--items", type=int, help="the most viewed ones (default: all)")
    parser.add_argument("--users", type=int, help="the most active ones (default: all)")
    parser.add_argument("--weeks", type=int, default=5)
    parser.add_argument("--backbone", default="lightgcn")
    parser.add_argument("--alignment", default="none")
    parser.add_argument("--replay", type=float, help="of the runs from last week's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/next_week"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    time.perf_counter = time.process_time

    rows = timed_rows(options.data / "pairs.tsv", options.users, options.items)
    rows["time"] *= options.weeks
    table = []
    for week in range(1, options.weeks + 1):
        data = options.out / f"data{week}"
        write_week(data, rows, week, options.content)
        nothing, after = (options.out / f"{kind}{week}" for kind in ("nothing", "after"))
        trained(data, nothing, options, None)
        if week > 1:
            before = options.out / (f"after{week - 1}" if week > 2 else "nothing1")
            trained(data, after, options, before)
            table.append({"week": week, **compare(nothing, after)})
            print(json.dumps(table[-1]), flush=True)
    about = {name: str(value) for name, value in vars(options).items()}
    write_text(options.out / "next_week.json", json.dumps({**about, "weeks": table}, indent=2))


if __name__ == "__main__":
    main()
