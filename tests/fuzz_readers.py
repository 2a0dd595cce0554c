"""A small valid file for every reader, and what reads it; `fuzz.py` changes and reads them."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
import torch

from crossalign.config import load_config
from crossalign.datasets import DataOptions, Dataset, load_dataset
from crossalign.datasets.titles import read_titles
from crossalign.fileio import read_json
from crossalign.graphs import Neighbors, dataset_hash, load_neighbors, save_neighbors
from crossalign.serving.new_items import read_new_items

USERS, ITEMS, EACH = 6, 8, 5
PAIRS = [(u, (u + 3 * n) % ITEMS) for u in range(USERS) for n in range(EACH)]


def text(separator: str, header: str = "user,item,time,rating") -> bytes:
    lines = [header.replace(",", separator)]
    lines += [
        separator.join((f"u{u}", f"i{i}", f"2024-01-{1 + n % 28:02d}", str(1 + n % 5)))
        for n, (u, i) in enumerate(PAIRS)
    ]
    return "\n".join(lines).encode() + b"\n"


def inter() -> bytes:
    rows = [f"{u}\t{i}\t{max(0, n % EACH - EACH + 3)}" for n, (u, i) in enumerate(PAIRS)]
    return "\n".join(["userID\titemID\tx_label", *rows]).encode()


def numbered(folder: Path) -> None:
    (folder / "x.inter").write_bytes(inter())


def named(folder: Path) -> None:
    (folder / "interactions.csv").write_bytes(text(","))


FEATURES = np.random.default_rng(0).normal(size=(ITEMS, 3)).astype(np.float32)
NAMES = [f"i{n}" for n in range(ITEMS)]


def npy(file: Path) -> None:
    np.save(file, FEATURES)


def npz(file: Path) -> None:
    np.savez(file, ids=NAMES, features=FEATURES)


def packed_npz(file: Path) -> None:
    np.savez_compressed(file, ids=NAMES, features=FEATURES)


def parquet_features(file: Path) -> None:
    pd.DataFrame(FEATURES, index=NAMES, columns=list("abc")).to_parquet(file)


def lists(file: Path) -> None:
    pd.DataFrame({"item": NAMES, "v": list(FEATURES)}).to_parquet(file)


def parquet_table(file: Path) -> None:
    frame = pd.DataFrame(PAIRS, columns=["user", "item"])
    frame.assign(time=pd.date_range("2024-01-01", periods=len(frame))).to_parquet(file)


def knn(file: Path) -> None:
    row = np.arange(ITEMS)
    shape = np.array([ITEMS, ITEMS])
    np.savez(file, row=row, col=(row + 1) % ITEMS, cos=np.ones(ITEMS, np.float32), shape=shape)


def matrix(file: Path) -> None:
    for label, name in enumerate(("trnMat", "valMat", "tstMat")):
        chosen = [pair for n, pair in enumerate(PAIRS) if max(0, n % EACH - EACH + 3) == label]
        users, items = zip(*chosen, strict=True)
        made = sp.coo_matrix((np.ones(len(users)), (users, items)), (USERS, ITEMS))
        (file.parent / f"{name}.pkl").write_bytes(pickle.dumps(made.tocsr()))


def neighbors(file: Path) -> None:
    ids = (torch.arange(ITEMS).unsqueeze(1) + torch.arange(1, 3)) % ITEMS
    save_neighbors(file, Neighbors(ids, torch.ones_like(ids), {"k": 2}))


def write(content: bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(content) and None


def jsonl() -> bytes:
    rows = [{"user": f"u{u}", "item": i, "time": n} for n, (u, i) in enumerate(PAIRS)]
    return "\n".join(json.dumps(row) for row in rows).encode()


def zst(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return sink.getvalue().to_pybytes()


def data_of(file: Path, **options: object) -> str:
    return digest(load_dataset(file.parent, options=DataOptions(**options)))


def by_time(file: Path) -> str:
    return data_of(file, split="chronological", min_rating=2)


def chronological(file: Path) -> str:
    return data_of(file, split="chronological")


def digest(data: Dataset) -> str:
    return f"{dataset_hash(data)} {data.user_ids} {data.item_ids}"


def titles_of(file: Path) -> str:
    return str(read_titles(file, load_dataset(file.parent)))


@dataclass(frozen=True)
class Reader:
    """A file that is mutated, what lies beside it, and what reads it."""

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    beside: Callable[[Path], None] | None = None


CONFIG = b"backbone: {name: bpr, dim: 8}\ntraining: &t\n  epochs: 3\nseed: 1\npath: planted\n"
READERS = (
    Reader("interactions.csv", write(text(",")), by_time),
    Reader("interactions.tsv", write(text("\t")), by_time),
    Reader("interactions.csv.gz", write(gzip.compress(text(";"), mtime=0)), by_time),
    Reader("interactions.tsv.zst", write(zst(text("\t"))), by_time),
    Reader("interactions.jsonl", write(jsonl()), chronological),
    Reader("interactions.parquet", parquet_table, chronological),
    Reader("x.inter", write(inter()), data_of),
    Reader("pairs.tsv", write(b"u\t1 2 3 4\nv\t4 3 2 1\nw\t1 3 5 7\n"), chronological),
    Reader("trnMat.pkl", matrix, data_of),
    Reader("m_feat.npy", npy, data_of, numbered),
    Reader("m_feat.npz", npz, data_of, named),
    Reader("p_feat.npz", packed_npz, data_of, named),
    Reader("m_feat.parquet", parquet_features, data_of, named),
    Reader("l_feat.parquet", lists, data_of, named),
    Reader("m_knn2.npz", knn, data_of, numbered),
    Reader("titles.csv", write(text(",", "item,title,x,y")), titles_of, named),
    Reader("neighbors.npz", neighbors, lambda file: load_neighbors(file, n_items=ITEMS)),
    Reader("new.npz", npz, lambda file: read_new_items({"m": file})),
    Reader("config.yaml", write(CONFIG), load_config),
    Reader("metrics.json", write(b'{"test": {"recall@20": 0.5}, "notes": []}'), read_json),
)
