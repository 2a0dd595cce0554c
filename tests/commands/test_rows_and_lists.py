"""Through the command line: what is left out is said, and ids come out as they went in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_folders import (
    ITEMS,
    NPY,
    PAIRS,
    RAGGED,
    USERS,
    Frame,
    csv,
    frame,
    lines,
    parquet,
    refusal,
)

from crossalign.cli import main
from crossalign.datasets import DataOptions, load_dataset

SAID: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "stray quotes in TSV": (
        lambda d: csv(d, RAGGED.replace(",x", ',"x', 2).replace(",", "\t"), "interactions.tsv"),
        [], "36 row(s) read, 36 kept",
    ),
    "repeats": (lambda d: csv(d, lines() + "0,0,7\n"), [], "36 kept; left out: 1 repeated"),
    "ratings": (
        lambda d: parquet(d, frame().assign(rating=[1, *[5] * 35])), ["data.min_rating=3"],
        "36 row(s) read, 35 kept; left out: 1 rated below",
    ),
    "ratings not read": (
        lambda d: parquet(d, frame().assign(stars=[1, *[5] * 35])), [], "'stars' is not read",
    ),
    "rare users": (
        lambda d: csv(d, lines() + "77,0,7\n"), ["data.min_user_interactions=2"],
        "left out: 1 by k-core filtering",
    ),
    "cold users": (
        lambda d: parquet(d, pd.concat([
            frame().assign(split=[("train", "train", "train", "train", "valid", "test")[n % 6]
                                  for n in range(36)]),
            Frame([(99, 0, 1, "test")], columns=["user", "item", "time", "split"]),
        ])),
        [], "left out: 1 held out of users without a training",
    ),
    "ties": (
        lambda d: csv(d, lines().replace("\n", ",1\n").replace("time,1", "time,date", 1)),
        ["data.split=chronological", "data.time_column=date"], "36 row(s) share user and time",
    ),
    "off by one": (
        lambda d: (csv(d, frame(item=lambda i: i + 1).to_csv(index=False)),
                   np.save(d / NPY, np.ones((ITEMS + 1, 2))))[0],
        [], "ids start at 1: row 0 is of no item",
    ),
    "separator": (lambda d: csv(d, lines(";")), [], "fields are separated by ';'"),
    "two letters": (lambda d: csv(d, lines("::")), ["data.separator='::'"], "36 kept"),
    "Latin 1": (
        lambda d: csv(d, lines(user="\xfc{}").encode("latin-1")),
        ["data.encoding=latin-1"],
        "36 kept",
    ),
    "line breaks": (
        lambda d: csv(d, RAGGED.replace(",x", ',"x\ny"', 2)), [], "2 quoted field(s) hold line",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("write", "options", "said"), SAID.values(), ids=SAID)
def test_what_is_left_out_or_odd_is_said(
    write: Callable[[Path], None],
    options: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path)
    sets = [part for option in options for part in ("--set", option)]
    assert main(["describe", str(tmp_path), *sets]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def shop_of(folder: Path, *options: str) -> str:
    """Train, export; the run folder is `folder/run`."""
    sets = [part for option in options for part in ("--set", option)]
    run, shop = str(folder / "run"), str(folder / "shop")
    line = ["train", str(folder), "--backbone", "bpr", "--quiet", "--out", run, *sets]
    assert main([*line, "--set", "training.epochs=1", "--set", "backbone.dim=4"]) == 0
    assert main(["export", run, "--out", shop]) == 0
    return shop


def listed(shop: str, out: Path, *arguments: str) -> Frame:
    assert main(["recommend", shop, "-o", str(out), "--quiet", *arguments]) == 0
    return pd.read_csv(out, dtype=str, keep_default_na=False)


def test_ids_come_out_as_they_went_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Commas, quotes and carriage returns: in tables, exports, lists and on the command line."""
    names = ["Doe, J", 'say "hi"', "a\rb", "NA", "\xe9", "7.0"]
    items = [f"i,{n}" for n in range(ITEMS)]
    parquet(tmp_path, frame(names.__getitem__, items.__getitem__))
    shop, out = shop_of(tmp_path), tmp_path / "lists.csv"
    lists = listed(shop, out)
    assert set(lists.user) == set(names)
    assert set(lists.item) <= set(items)
    for asked in ('"Doe, J",NA', "Doe, J", 'say "hi"', "a\rb", " \xe9 "):
        part = listed(shop, out, "--users", asked)
        assert set(part.user) <= set(names)
        assert len(part)
    history = listed(shop, out, "--history", '"i,3","i,4"', "-k", "99")
    assert sorted(history.item) == sorted({*items} - {"i,3", "i,4"})
    facts = json.loads((tmp_path / "run" / "metrics.json").read_text())["dataset_facts"]
    assert facts["intake"]["rows"] == len(PAIRS)
    inside = ["recommend", shop, "-o", f"{shop}/users.csv", "--quiet"]
    capsys.readouterr()
    assert "lies in the export" in refusal(inside, capsys)


def test_nobody_is_shown_what_they_have(tmp_path: Path) -> None:
    """In no split, and not in rows rated low."""
    table = frame().assign(rating=5)
    table.loc[0, "rating"] = 1  # user 0 and item 0
    parquet(tmp_path, table)
    shop, out = shop_of(tmp_path, "data.min_rating=3"), tmp_path / "lists.csv"
    lists = listed(shop, out, "-k", "99")
    shown = set(zip(lists.user, lists.item, strict=True))
    assert not shown & {(str(u), str(i)) for u, i in PAIRS}
    assert len(shown) == USERS * ITEMS - len(PAIRS)


WITHOUT_TRAINING: dict[str, tuple[list[tuple[int, int, str, int]], list[str]]] = {
    # rows of user 90 as (user, item, split, rating) -> items that are theirs; none: unknown
    "tested alone": ([(90, 0, "test", 5), (90, 1, "test", 5)], ["0", "1"]),
    "validated alone": ([(90, 2, "valid", 5)], ["2"]),
    "validated and tested": ([(90, 2, "valid", 5), (90, 0, "test", 4)], ["0", "2"]),
    "tested, else rated low": ([(90, 3, "train", 1), (90, 4, "test", 5)], ["3", "4"]),
    "rated low alone": ([(90, 0, "train", 1), (90, 1, "valid", 2)], []),
    "rated low in test": ([(90, 0, "test", 1)], []),
    "no rows": ([], []),
}


@pytest.mark.parametrize("name", WITHOUT_TRAINING)
def test_users_left_out_of_training_are_served_or_unknown(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As someone new with what they have; never are they shown it."""
    more, theirs = WITHOUT_TRAINING[name]
    labels = [("train", "train", "train", "train", "valid", "test")[n % 6] for n in range(36)]
    table = frame()[["user", "item"]].assign(split=labels, rating=5)
    parquet(tmp_path, pd.concat([table, Frame(more, columns=table.columns)]))
    shop, out = shop_of(tmp_path, "data.min_rating=3"), tmp_path / "lists.csv"
    if not theirs:
        ask = ["recommend", shop, "--users", "90"]
        assert "user '90' is unknown" in refusal(ask, capsys)
        return
    shown = listed(shop, out, "--users", "90", "-k", "99").item.tolist()
    assert sorted([*shown, *theirs]) == list(map(str, range(ITEMS)))
    liked = [str(item) for _, item, _, rating in more if rating >= 3]
    new = listed(shop, out, "--history", ",".join(liked), "-k", "99").item.tolist()
    assert shown == [item for item in new if item not in theirs]


def test_another_order_of_rows_is_the_same_data(tmp_path: Path) -> None:
    """After training too: a run knows the table again, and every split is the same."""
    table = pd.concat([frame(), frame().iloc[:9].assign(time=9999)])
    parquet(tmp_path, table)
    options = ("data.split=chronological",)
    shop_of(tmp_path, *options)
    for seed in range(3):
        parquet(tmp_path, table.sample(frac=1, random_state=seed))
        assert main(["evaluate", str(tmp_path / "run")]) == 0
    splits = []
    for seed in range(3):
        parquet(tmp_path, table.sample(frac=1, random_state=seed))
        data = load_dataset(tmp_path, options=DataOptions(split="random"))
        splits.append([data.train.tolist(), data.valid.tolist(), data.test.tolist()])
    assert splits[0] == splits[1] == splits[2]


def test_more_neighbours_than_items_are_as_many_as_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv(tmp_path, lines())
    file = str(tmp_path / "n.npz")
    line = ["neighbors", str(tmp_path), "-k", str(10**12), "-o", file, "--quiet"]
    assert main(line) == 0
    assert f"k is {ITEMS - 1}, not" in capsys.readouterr().out
    with np.load(file) as found:
        assert found["ids"].shape == (ITEMS, ITEMS - 1)
