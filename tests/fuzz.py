"""Mutated files over all readers: another valid result, or one line that says what is wrong.

    python tests/fuzz.py --files 10000

writes a small valid file for every reader, changes bytes of it at random, and reads it. A reader
may return or raise `CrossalignError` with one line; anything else, or more than `LIMIT` seconds,
is a failure, and the mutated file is kept. The process must stay below `MEMORY` MiB of growth.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
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
from crossalign.errors import CrossalignError
from crossalign.fileio import read_json
from crossalign.graphs import Neighbors, dataset_hash, load_neighbors, save_neighbors
from crossalign.serving.new_items import read_new_items

LIMIT = 5.0
MEMORY = 1024
USERS, ITEMS, EACH = 6, 8, 5
PAIRS = [(u, (u + 3 * n) % ITEMS) for u in range(USERS) for n in range(EACH)]
TOKENS = [b'"', b'""', b"\r", b"\n", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\t", b",",
          b";", b"nan", b"1e999", b"9" * 40, b"-1", b"[" * 50, b"{", b"*a", b"\xff" * 8,
          b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x80", b"(1000000000000,)", b"'<U9999999'",
          b"True", b"|O"]  # fmt: skip


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


def mutate(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to four changes."""
    data = bytearray(content)
    if chance.random() < 0.3:  # a letter for a letter
        data[chance.randrange(len(data))] = chance.randrange(32, 127)
        return bytes(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(data) + 1)
        length = chance.choice((1, 1, 2, 4, 8, 40))
        kind = chance.randrange(7)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[place : place + length] = chance.randbytes(length)
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            data[place:place] = chance.choice(TOKENS)
        elif kind == 5:
            token = chance.choice(TOKENS)
            data[place : place + len(token)] = token
        else:
            start = chance.randrange(len(data) + 1)
            data[place:place] = data[start : start + 8 * length]
    return bytes(data)


def mutate_inside(name: str, content: bytes, chance: random.Random) -> bytes:
    """What a compressed file holds is changed, so that its checksums are right."""
    if name.endswith(".gz"):
        return gzip.compress(mutate(gzip.decompress(content), chance), mtime=0)
    if name.endswith(".zst"):
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            return zst(mutate(stream.read(), chance))
    if not name.endswith(".npz"):
        return mutate(content, chance)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        chosen = chance.choice(old.namelist())
        for member in old.namelist():
            inside = old.read(member)
            new.writestr(member, mutate(inside, chance) if member == chosen else inside)
    return out.getvalue()


class Hang(BaseException):
    """Reading took longer than `LIMIT`; no reader catches it."""


def _hang(*_: object) -> None:
    raise Hang


def outcome(reader: Reader, file: Path) -> str:
    """`valid` or `refused`, or what went wrong, with its traceback."""
    signal.signal(signal.SIGALRM, _hang)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        reader.read(file)
    except CrossalignError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error!r}"
    except Hang:
        return f"took more than {LIMIT} s"
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "valid"


def fuzz(files: int, seed: int, place: Path) -> tuple[Counter[str], list[str]]:
    """Counts of outcomes by reader, and failures; mutated files that failed are kept in `place`."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    failures = []
    sources = {}
    for reader in READERS:
        folder = place / "whole" / reader.name
        folder.mkdir(parents=True)
        if reader.beside:
            reader.beside(folder)
        reader.make(folder / reader.name)
        whole = outcome(reader, folder / reader.name)
        assert whole == "valid", f"{reader.name}: {whole}"
        sources[reader.name] = (folder, (folder / reader.name).read_bytes())
    for number in range(files):
        reader = READERS[number % len(READERS)]
        folder, content = sources[reader.name]
        file = folder / reader.name
        change = chance.choice((mutate_inside, lambda _, *rest: mutate(*rest)))
        file.write_bytes(change(reader.name, content, chance))
        found = outcome(reader, file)
        counts[found if found in ("valid", "refused") else "failed"] += 1
        if found not in ("valid", "refused"):
            kept = place / f"{number}-{reader.name}"
            shutil.copy(file, kept)
            failures.append(f"{kept}: {found}")
        file.write_bytes(content)
    return counts, failures


def peak() -> float:
    """Most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Run as long as asked, and print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that failed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    place = options.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    before, started = peak(), time.perf_counter()
    counts, failures = fuzz(options.files, options.seed, place)
    figures = {
        "files": options.files,
        "readers": len(READERS),
        **counts,
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mib": round(peak()),
        "growth_mib": round(peak() - before),
    }
    print("\n".join(failures[:20]))
    print(json.dumps(figures))
    return 1 if failures or figures["growth_mib"] > MEMORY else 0


if __name__ == "__main__":
    sys.exit(main())
