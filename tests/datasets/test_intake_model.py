"""What comes out of reading, export and recommend equals a model over plain dictionaries."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossalign.datasets import DataOptions, Dataset, load_dataset
from crossalign.serving import Recommender, export
from crossalign.serving.recommender import COLUMNS

LAYOUTS = ("csv", "tsv", "csv.gz", "jsonl", "parquet")
words = st.text(st.sampled_from("ab9 ,;\"'éß\u4e2d"), min_size=1, max_size=6).map(
    lambda text: f"x{text.strip()}"  # spaces around ids are left out, and a first letter is no sign
)
ID_TYPES = {
    "small": st.integers(-5, 5),
    "hashes": st.integers(2**63, 2**64 - 1),
    "floats": st.integers(-50, 50).map(float),
    "words": words,
    "zeros": st.integers(0, 9).map(lambda n: f"0{n}"),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[tuple[object, object, int]], str]:
    """Rows of user, item and time, in any order and with repeats, and a layout."""
    users = draw(st.lists(ID_TYPES[draw(st.sampled_from(sorted(ID_TYPES)))], min_size=3,
                          max_size=5, unique=True))  # fmt: skip
    items = draw(st.lists(ID_TYPES[draw(st.sampled_from(sorted(ID_TYPES)))], min_size=5,
                          max_size=8, unique=True))  # fmt: skip
    chance = random.Random(draw(st.integers(0, 2**32)))
    times = iter(chance.sample(range(10_000), 400))
    rows = [(user, item, next(times)) for user in users
            for item in chance.sample(items, chance.randint(3, len(items)))]  # fmt: skip
    rows += [(*chance.choice(rows)[:2], next(times)) for _ in range(chance.randint(0, 5))]
    chance.shuffle(rows)
    return rows, draw(st.sampled_from(LAYOUTS))


def plain(value: object) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


def write(rows: list[tuple[object, object, int]], layout: str, folder: Path) -> None:
    names = ["user", "item", "time"]
    file = folder / f"interactions.{layout}"
    if layout == "parquet":
        table = pd.DataFrame(rows, columns=names)
        for name in names[:2]:
            if all(isinstance(value, int) and value >= 2**63 for value in table[name]):
                table[name] = np.array(table[name].tolist(), dtype=np.uint64)
        table.to_parquet(file)
    elif layout == "jsonl":
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
        file.write_text("\n".join(lines), encoding="utf-8")
    else:
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t" if layout == "tsv" else ",", lineterminator="\n")
        writer.writerows([names, *rows])
        content = text.getvalue().encode()
        file.write_bytes(gzip.compress(content) if layout.endswith("gz") else content)


def model(rows: list[tuple[object, object, int]]) -> dict[str, dict[str, set[str]]]:
    """Split -> user -> items, by the earliest time of every pair."""
    first: dict[str, dict[str, int]] = defaultdict(dict)
    for user, item, time in rows:
        had = first[plain(user)].get(plain(item), time)
        first[plain(user)][plain(item)] = min(time, had)
    splits: dict[str, dict[str, set[str]]] = {"train": {}, "valid": {}, "test": {}}
    for user, times in first.items():
        order = sorted(times, key=times.__getitem__)  # 3 to 8 items: one each is held out
        parts = (order[:-2], order[-2:-1], order[-1:])
        for split, part in zip(splits.values(), parts, strict=True):
            split[user] = set(part)
    return splits


def read_splits(data: Dataset) -> dict[str, dict[str, set[str]]]:
    found: dict[str, dict[str, set[str]]] = {}
    for split in ("train", "valid", "test"):
        found[split] = defaultdict(set)
        for user, item in data.split(split).T.tolist():
            found[split][str(data.user_ids[user])].add(str(data.item_ids[item]))
    return found


def shop(data: Dataset, folder: Path) -> Recommender:
    """An export of vectors that nobody trained."""
    draws = torch.Generator().manual_seed(0)
    user, item = (torch.randn(n, 4, generator=draws) for n in (data.n_users, data.n_items))
    counts = data.train[1].bincount(minlength=data.n_items)
    about = {"format": export.FORMAT, "content_map": None}
    (folder / export.ABOUT).write_text(json.dumps(about))
    export._write_vectors(folder / export.VECTORS, user, item, None)
    export._write_ids(folder, data, counts, counts < 0, {})
    export._write_seen(folder / export.SEEN, data)
    return Recommender.load(folder)


@settings(deadline=None, max_examples=60)
@given(tables())
def test_reading_export_and_lists_equal_the_model(table) -> None:
    rows, layout = table
    wanted = model(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(rows, layout, folder)
        data = load_dataset(folder, options=DataOptions(split="chronological"))
        assert read_splits(data) == wanted
        assert data.intake.rows == len(rows)
        pairs = {(plain(user), plain(item)) for user, item, _ in rows}
        assert sum(data.intake.left_out.values()) == len(rows) - len(pairs)

        write(rows[::-1], layout, folder)
        again = load_dataset(folder, options=DataOptions(split="chronological"))
        assert all(
            torch.equal(data.split(split), again.split(split)) for split in ("train", "test")
        )

        recommender = shop(data, folder)
        users, items = ({plain(row[n]) for row in rows} for n in (0, 1))
        assert set(recommender.users) == users
        assert set(recommender.items) == items
        lists = recommender.recommend(sorted(users), 99)
        assert list(lists.columns) == list(COLUMNS)
        got = {user: set(part.item) for user, part in lists.groupby("user")}
        left = {user: items - {i for u, i in pairs if u == user} for user in users}
        assert got == {user: rest for user, rest in left.items() if rest}
