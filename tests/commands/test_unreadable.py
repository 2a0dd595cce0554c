"""Through the command line: what cannot be read, or is missing, is refused in one line."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_folders import (
    GZ,
    IDS,
    ITEMS,
    LINES,
    NPY,
    NPZ,
    ORDER,
    PAIRS,
    RAGGED,
    TABLE,
    ZST,
    Frame,
    archive,
    csv,
    frame,
    lines,
    npy_header,
    parquet,
    refusal,
    saved,
    zstd,
)

from crossalign.cli import main


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


STRAY = lines().replace("\n", ',"open\n', 3).replace('time,"open', "time,title", 1)
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
    "no day of February": (
        lambda d: csv(d, DATES.replace("2024-01-05", "2024-02-30", 1)), "line 6: time is '2024-02-",
    ),
    "the year 10000": (
        lambda d: csv(d, DATES.replace("2024-01-05", "10000-01-05", 1)), "line 6: time is '10000-",
    ),
    "a zone that is none": (
        lambda d: csv(d, DATES.replace("05 10:00", "05T10:00+99:00", 1)), "line 6: time is '2024",
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
