"""Through the command line: what comes in is what was written, or is refused in one line."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from crossalign.cli import main
from crossalign.datasets import DataOptions, load_dataset

USERS, ITEMS = 6, 9
PAIRS = [(u, (u + n) % ITEMS) for u in range(USERS) for n in range(6)]
Frame = pd.DataFrame
LINES, GZ, ZST = "interactions.jsonl", "interactions.csv.gz", "interactions.csv.zst"
NPY, NPZ = "image_feat.npy", "image_feat.npz"


def frame(user: Callable[[int], object] = int, item: Callable[[int], object] = int) -> Frame:
    rows = [(user(u), item(i), 100 * u + n) for n, (u, i) in enumerate(PAIRS)]
    return Frame(rows, columns=["user", "item", "time"])


def csv(folder: Path, text: str | bytes, name: str = "interactions.csv") -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)


def lines(separator: str = ",", space: str = "", user: str = "{}") -> str:
    join = (separator + space).join
    rows = [join((user.format(u), str(i), str(n))) for n, (u, i) in enumerate(PAIRS)]
    return "\n".join([join(("user", "item", "time")), *rows]) + "\n"


def parquet(folder: Path, table: Frame) -> None:
    table.to_parquet(folder / "interactions.parquet")


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return sink.getvalue().to_pybytes()


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


def features(folder: Path, **arrays: object) -> None:
    csv(folder, lines())
    np.savez(folder / NPZ, **arrays)


TABLE = np.arange(ITEMS * 2, dtype=np.float32).reshape(ITEMS, 2)
ORDER = np.random.default_rng(0).permutation(ITEMS)
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


def npy_header(shape: str, descr: str = "'<f4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def archive(folder: Path, name: str, method: int = zipfile.ZIP_STORED, **members: bytes) -> None:
    with zipfile.ZipFile(folder / name, "w", method) as out:
        for member, content in members.items():
            out.writestr(member.replace("_npy", ".npy"), content)


def saved(array: object) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def damaged_npz(folder: Path) -> None:
    np.savez_compressed(folder / NPZ, ids=np.arange(ITEMS), features=TABLE)
    content = bytearray((folder / NPZ).read_bytes())
    place = content.index(b"features.npy") + 40
    content[place : place + 20] = b"\xff" * 20
    (folder / NPZ).write_bytes(content)


def flagged_npz(folder: Path, flag: int) -> None:
    """An archive whose members claim a property: 1 is encrypted, 32 patched."""
    np.savez(folder / NPZ, ids=np.arange(ITEMS), features=TABLE)
    content = bytearray((folder / NPZ).read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(mark, start)) >= 0:
            content[start + place] |= flag
            start += 4
    (folder / NPZ).write_bytes(content)


IDS = saved(np.arange(ITEMS))
STRAY = lines().replace("\n", ',"open\n', 3).replace('time,"open', "time,title", 1)
RAGGED = lines().replace("\n", ",x\n").replace("time,x", "time,title", 1)
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "fraction": (lambda d: csv(d, lines().replace(",3,", ",3.5,", 1)), "item is '3.5': no whole"),
    "list ids": (lambda d: parquet(d, frame(item=lambda i: [i])), "row 0: item is [0]"),
    "list ids in JSON": (
        lambda d: csv(d, '{"user": 1, "item": 2}\n{"user": 1, "item": [2]}\n', LINES),
        "line 2: item is",
    ),
    "no id": (lambda d: csv(d, lines().replace(",3,", ", ,", 1)), "line 5: item is empty"),
    "quotes in CSV": (lambda d: csv(d, STRAY), "line 2: the quoted field \"open goes on"),
    "open quote": (lambda d: csv(d, RAGGED.replace(",x", ',"x', 1)), "line 2: the quoted field"),
    "cut off": (lambda d: csv(d, lines()[:-4]), "has 2 field(s), the header 3; is the file cut"),
    "too many": (lambda d: csv(d, lines() + "1,2,3,4\n"), "rows have more fields than the header"),
    "two columns": (lambda d: csv(d, lines().replace("time", "item", 1)), "are called 'item'"),
    "Latin 1": (lambda d: csv(d, lines(user="\xfc{}").encode("latin-1")), "line 2: cannot be read"),
    "UTF-16": (lambda d: csv(d, lines().encode("utf-16")), "perhaps to utf-16"),
    "half a gzip": (
        lambda d: csv(d, gzip.compress(lines().encode())[:60], GZ), "damaged",
    ),
    "half a zstd": (
        lambda d: csv(d, zstd(lines().encode())[:60], ZST), ZST,
    ),
    "no JSON": (lambda d: csv(d, "[1]\n", "interactions.jsonl"), "line 1: is no JSON object"),
    "deep JSON": (
        lambda d: csv(d, '{"a":' + "[" * 10**5, LINES), "line 1: is no JSON object",
    ),
    "pipe": (lambda d: os.mkfifo(d / NPY), "is a pipe, socket or device"),
    "pipe of rows": (lambda d: os.mkfifo(d / "interactions.csv"), "is a pipe, socket or device"),
    "device": (
        lambda d: (d / "image_feat.parquet").symlink_to("/dev/zero"), "is a pipe, socket or device",
    ),
    "folder": (lambda d: (d / NPZ).mkdir(), "is a folder"),
    "absurd shape": (
        lambda d: csv(d, npy_header("(1000000000000, 4)"), NPY), "its header says",
    ),
    "negative shape": (lambda d: csv(d, npy_header("(-5, 4)"), NPY), "not a readable"),
    "objects": (lambda d: csv(d, npy_header("(9, 4)", "'|O'"), NPY), "Python objects"),
    "npy called npz": (lambda d: csv(d, saved(TABLE), NPZ), "is no .npz archive but a"),
    "npz called npy": (
        lambda d: archive(d, NPY, ids_npy=IDS), "is no .npy array but a .npz archive",
    ),
    "no member": (
        lambda d: archive(d, NPZ, ids=b"hello", features=b"x"), "lacks the array 'ids'",
    ),
    "text members": (
        lambda d: archive(d, NPZ, ids_npy=b"hello", features_npy=b"x"), "not a readable",
    ),
    "empty archive": (lambda d: archive(d, NPZ), "lacks the array"),
    "bad deflate": (damaged_npz, "not a readable .npz"),
    "encrypted": (lambda d: flagged_npz(d, 1), "not a readable .npz"),
    "patched": (lambda d: flagged_npz(d, 32), "not a readable .npz"),
    "text features": (
        lambda d: np.savez(d / NPZ, ids=np.arange(ITEMS), features=TABLE.astype(str)),
        "give a table of numbers",
    ),
    "text shape": (
        lambda d: np.savez(
            d / "image_knn.npz", row=ORDER, col=ORDER[::-1], cos=np.ones(ITEMS), shape=["a", "b"]
        ),
        "give two numbers",
    ),
    "no column of ids": (
        lambda d: Frame(TABLE.astype(int)).rename(columns=str).to_parquet(d / "image_feat.parquet"),
        "no column of item ids is found",
    ),
    "NaN": (
        lambda d: np.savez(
            d / NPZ, ids=ORDER, features=np.where(TABLE[ORDER] == 6, np.nan, TABLE[ORDER])
        ),
        "item 3",
    ),
}  # fmt: skip


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("crossalign: ")
    assert len(error.splitlines()) == 1
    assert len(error) < 1000
    return error


@pytest.mark.parametrize(("write", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(
    write: Callable[[Path], object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    if not any(tmp_path.glob("interactions*")):
        csv(tmp_path, lines())
    assert said in refusal(["describe", str(tmp_path)], capsys)


DATES = "user,item,time\n" + "".join(
    f"{u},{i},2024-01-{1 + n % 28:02d} 10:00\n" for n, (u, i) in enumerate(PAIRS)
)
TIMES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no date": (
        lambda d: csv(d, DATES.replace("2024-01-05 10:00", "", 1)), "line 6: time is '', no time"
    ),
    "no number": (lambda d: csv(d, lines().replace(",4\n", ",\n", 1)), "line 6: time is ''"),
    "NaT": (
        lambda d: parquet(d, frame().assign(time=[pd.NaT, *pd.date_range("2024", periods=35)])),
        "row 0: time is None",
    ),
    "null": (
        lambda d: parquet(d, frame().astype({"time": "Int64"}).assign(
            time=lambda t: t.time.mask(t.index == 7)
        )),
        "row 7: time is None",
    ),
    "a month too many": (
        lambda d: csv(d, DATES.replace("2024-01-05", "2024-13-05", 1)), "line 6: time is '2024-13",
    ),
    "a word": (
        lambda d: csv(d, DATES.replace("2024-01-05 10:00", "noon", 1)), "line 6: time is 'noon'",
    ),
    "infinite": (lambda d: csv(d, lines().replace(",4\n", ",1e999\n", 1)), "time is '1e999"),
    "null in JSON": (
        lambda d: csv(d, '{"user":1,"item":1,"time":3}\n{"user":1,"item":2}\n', LINES),
        "line 2: time is None",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("write", "said"), TIMES.values(), ids=TIMES)
def test_a_time_that_is_missing_or_none_is_named_by_its_line(
    write: Callable[[Path], object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    line = ["describe", str(tmp_path), "--set", "data.split=chronological"]
    assert said in refusal(line, capsys)


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


def test_nobody_is_shown_what_they_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a low rating, of a user who was never trained; one who has nothing is unknown."""
    labels = [("train", "train", "train", "train", "valid", "test")[n % 6] for n in range(36)]
    table = frame().assign(split=labels, rating=5)
    table.loc[0, "rating"] = 1  # user 0 and item 0
    more = [(90, 0, 0, "test", 5), (90, 1, 0, "test", 5), (91, 0, 0, "train", 1)]
    parquet(tmp_path, pd.concat([table, Frame(more, columns=table.columns)]))
    shop, out = shop_of(tmp_path, "data.min_rating=3"), tmp_path / "lists.csv"
    assert "0" not in set(listed(shop, out, "--users", "0", "-k", "99").item)
    assert not {"0", "1"} & set(listed(shop, out, "--users", "90", "-k", "99").item)
    new = listed(shop, out, "--history", "0,1", "-k", "99")
    assert listed(shop, out, "--users", "90", "-k", "99").item.tolist() == new.item.tolist()
    capsys.readouterr()
    assert "user '91' is unknown" in refusal(["recommend", shop, "--users", "91"], capsys)


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


def test_an_array_that_nobody_asks_for_is_not_inflated(tmp_path: Path) -> None:
    """A member that claims 2 GB is left alone."""
    csv(tmp_path, lines())
    absurd = npy_header("(100, 5000000)") + b"cut off"
    archive(tmp_path, NPZ, ids_npy=IDS, features_npy=saved(TABLE), extra_npy=absurd)
    assert main(["describe", str(tmp_path)]) == 0


CONFIGS = {
    "nested": "path: " + "[" * 5000 + "]" * 5000,
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
    ),
    "itself": "path: &a [*a]\n",
    "large": "#" * 2**21,
    "date": "seed: 2024-13-45\n",
    "digits": "seed: " + "9" * 5000 + "\n",
    "twice": "seed: 1\nseed: 2\n",
}  # fmt: skip


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_absurd_configurations_are_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(text)
    refusal(["train", "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "r")], capsys)
    assert not (tmp_path / "r").exists()


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
