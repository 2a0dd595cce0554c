"""Small data folders of odd files, and the line in which a command refuses something."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from crossalign.cli import main

USERS, ITEMS = 6, 9
PAIRS = [(u, (u + n) % ITEMS) for u in range(USERS) for n in range(6)]
Frame = pd.DataFrame
LINES, GZ, ZST = "interactions.jsonl", "interactions.csv.gz", "interactions.csv.zst"
NPY, NPZ = "image_feat.npy", "image_feat.npz"
TABLE = np.arange(ITEMS * 2, dtype=np.float32).reshape(ITEMS, 2)
ORDER = np.random.default_rng(0).permutation(ITEMS)


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


def features(folder: Path, **arrays: object) -> None:
    csv(folder, lines())
    np.savez(folder / NPZ, **arrays)


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


IDS = saved(np.arange(ITEMS))
RAGGED = lines().replace("\n", ",x\n").replace("time,x", "time,title", 1)
"""With a column of titles, to put quotes into."""


def refusal(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line in which a command is refused."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("crossalign: ")
    assert len(error.splitlines()) == 1
    assert len(error) < 1000
    return error.strip()
