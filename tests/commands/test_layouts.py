"""Through the command line: ids and features are what was written, in every layout."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from data_folders import (
    GZ,
    ITEMS,
    ORDER,
    PAIRS,
    TABLE,
    USERS,
    Frame,
    csv,
    features,
    frame,
    lines,
    parquet,
    zstd,
)

from crossalign.cli import main
from crossalign.datasets import load_dataset

URL = "https://example.org/?" + "q" * 3000
SAME: dict[str, tuple[Callable[[Path], None], list[object]]] = {
    "spaces after commas": (lambda d: csv(d, lines(space=" ")), list(range(ITEMS))),
    "padded": (lambda d: csv(d, lines().replace(",3,", ",3 ,", 2)), list(range(ITEMS))),
    "floats": (lambda d: csv(d, frame(item=float).to_csv(index=False)), list(range(ITEMS))),
    "floats in Parquet": (lambda d: parquet(d, frame(float, float)), list(range(ITEMS))),
    "one of two floats": (lambda d: csv(d, lines().replace(",3,", ",3.0,", 2)), list(range(ITEMS))),
    "hashes": (
        lambda d: parquet(d, frame(item=lambda i: 2**63 + i).astype({"item": "uint64"})),
        [2**63 + i for i in range(ITEMS)],
    ),
    "categories": (
        lambda d: parquet(d, frame(item="i{}".format).astype({"item": "category"})),
        [f"i{i}" for i in range(ITEMS)],
    ),
    "bytes": (
        lambda d: parquet(d, frame(item=lambda i: f"i{i}".encode())),
        [f"i{i}" for i in range(ITEMS)],
    ),
    "index": (lambda d: parquet(d, frame().set_index(["user", "item"])), list(range(ITEMS))),
    "byte order mark": (lambda d: csv(d, b"\xef\xbb\xbf" + lines().encode()), list(range(ITEMS))),
    "mark in .inter": (
        lambda d: csv(d, "\ufeffuser\titem\tx_label\n" + "\n".join(
            f"{u}\t{i}\t{max(0, n % 6 - 3)}" for n, (u, i) in enumerate(PAIRS)
        ), "x.inter"),
        list(range(ITEMS)),
    ),
    "long": (
        lambda d: csv(d, lines().replace(",3,", f",{URL},")),
        [*map(str, range(3)), *map(str, range(4, ITEMS)), URL],
    ),
    "quoted": (
        lambda d: parquet(d, frame(item=lambda i: f'a"{i}, "b"')),
        [f'a"{i}, "b"' for i in range(ITEMS)],
    ),
    "line breaks": (
        lambda d: csv(d, frame(item=lambda i: f"a\n{i}").to_csv(index=False)),
        [f"a\n{i}" for i in range(ITEMS)],
    ),
    "semicolons": (lambda d: csv(d, lines(";")), list(range(ITEMS))),
    "bars": (lambda d: csv(d, lines("|")), list(range(ITEMS))),
    "gzip": (
        lambda d: csv(d, gzip.compress(lines().encode()), GZ),
        list(range(ITEMS)),
    ),
    "zstd": (
        lambda d: csv(d, zstd(lines("\t").encode()), "interactions.tsv.zst"), list(range(ITEMS)),
    ),
    "old Mac": (lambda d: csv(d, lines().replace("\n", "\r")), list(range(ITEMS))),
    "Windows": (lambda d: csv(d, lines().replace("\n", "\r\n")), list(range(ITEMS))),
    "JSON lines": (
        lambda d: csv(d, frame().to_json(orient="records", lines=True), "interactions.jsonl"),
        list(range(ITEMS)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("write", "ids"), SAME.values(), ids=SAME)
def test_every_layout_gives_the_same_data(
    write: Callable[[Path], None],
    ids: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All rows, the users as numbers, the items under the names they were given."""
    write(tmp_path)
    assert main(["describe", str(tmp_path)]) == 0
    assert f"{len(PAIRS)} row(s) read, {len(PAIRS)} kept" in capsys.readouterr().out
    data = load_dataset(tmp_path)
    assert (data.n_users, data.n_items) == (USERS, ITEMS)
    assert data.item_ids is None or data.item_ids.tolist() == sorted(ids)
    assert data.user_ids is None or data.user_ids.tolist() == list(range(USERS))


KEYED: dict[str, Callable[[Path], None]] = {
    "npz floats": lambda d: features(d, ids=ORDER.astype(float), features=TABLE[ORDER]),
    "npz bytes": lambda d: features(d, ids=ORDER.astype("S"), features=TABLE[ORDER]),
    "npz spaces": lambda d: features(d, ids=[f" {i} " for i in ORDER], features=TABLE[ORDER]),
    "index": lambda d: Frame(TABLE[ORDER], index=ORDER, columns=["a", "b"]).to_parquet(
        d / "image_feat.parquet"
    ),
    "index, whole numbers in front": lambda d: Frame(
        TABLE[ORDER].astype(int), index=ORDER.astype(str), columns=["a", "b"]
    ).to_parquet(d / "image_feat.parquet"),
    "named index of a range": lambda d: Frame(
        TABLE, index=pd.RangeIndex(ITEMS, name="item"), columns=["a", "b"]
    ).to_parquet(d / "image_feat.parquet"),
    "index and lists": lambda d: Frame(
        {"v": list(TABLE[ORDER])}, index=ORDER
    ).to_parquet(d / "image_feat.parquet"),
    "ids last": lambda d: Frame(TABLE[ORDER], columns=["a", "b"]).assign(
        item=ORDER
    ).to_parquet(d / "image_feat.parquet"),
    "filtered rows, ids in a column": lambda d: Frame(TABLE[ORDER], columns=["a", "b"]).assign(
        sku=ORDER.astype(str)
    ).iloc[::-1].to_parquet(d / "image_feat.parquet"),
    "categories": lambda d: Frame(TABLE[ORDER], columns=["a", "b"]).assign(
        sku=pd.Categorical(ORDER.astype(str))
    ).to_parquet(d / "image_feat.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("write", KEYED.values(), ids=KEYED)
def test_features_reach_their_items(write: Callable[[Path], None], tmp_path: Path) -> None:
    csv(tmp_path, lines())
    write(tmp_path)
    assert main(["describe", str(tmp_path)]) == 0
    assert load_dataset(tmp_path).features["image"].tolist() == TABLE.tolist()
