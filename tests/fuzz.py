"""Mutated files over all readers: another valid result, or one line that says what is wrong.

    python tests/fuzz.py --files 10000

writes a small valid file for every reader, changes bytes of it at random, and reads it. A reader
may return or raise `CrossalignError` with one line; anything else is a failure, also the end of
the process, more than `LIMIT` seconds, or `MEMORY` MiB more than before. Mutated files that failed
are kept. File `n` of a seed is always the same; `--only n` reads it alone.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import torch
from fuzz_readers import READERS, Reader, zst

from crossalign.errors import CrossalignError

LIMIT = 5.0
MEMORY = 1024
BATCH = 500
"""Files that one process reads."""
TOKENS = [b'"', b'""', b"\r", b"\n", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\t", b",",
          b";", b"nan", b"1e999", b"9" * 40, b"-1", b"[" * 50, b"{", b"*a", b"\xff" * 8,
          b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x80", b"(1000000000000,)", b"'<U9999999'",
          b"True", b"|O"]  # fmt: skip


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


def outcome(reader: Reader, file: Path) -> str:
    """`valid` or `refused`, or what went wrong, with its traceback; too long ends the process."""
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        reader.read(file)
    except CrossalignError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error!r}"
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "valid"


def mutated(number: int, seed: int, content: bytes) -> bytes:
    """File `number` of a seed."""
    chance = random.Random(f"{seed}-{number}")
    name = READERS[number % len(READERS)].name
    inside = chance.random() < 0.5
    return mutate_inside(name, content, chance) if inside else mutate(content, chance)


def write_whole(place: Path) -> None:
    """The valid files, each in a folder of its own."""
    for reader in READERS:
        folder = place / reader.name
        folder.mkdir(parents=True)
        if reader.beside:
            reader.beside(folder)
        reader.make(folder / reader.name)
        whole = outcome(reader, folder / reader.name)
        assert whole == "valid", f"{reader.name}: {whole}"


def read_batch(numbers: Sequence[int], seed: int, place: Path, results: Path) -> None:
    """Read mutated files, and write a line for each: its number, and what came out."""
    with results.open("a") as out:
        for number in numbers:
            reader = READERS[number % len(READERS)]
            file = place / reader.name / reader.name
            content = file.read_bytes()
            file.write_bytes(mutated(number, seed, content))
            found = outcome(reader, file)
            file.write_bytes(content)
            out.write(json.dumps([number, found]) + "\n")
            out.flush()


def fuzz(numbers: Sequence[int], seed: int, place: Path) -> tuple[dict[int, str], int]:
    """What came of each file, and the MiB beyond what reading valid ones takes.

    Children read, so that one that ends by a signal is one failure, and the rest goes on. Files
    that failed are kept in `place`.
    """
    whole, results = place / "whole", place / "results.jsonl"
    in_child(lambda: write_whole(whole))
    contents = {reader.name: (whole / reader.name / reader.name).read_bytes() for reader in READERS}
    found: dict[int, str] = {}
    before = peak()
    while left := [number for number in numbers if number not in found]:
        status = in_child(lambda: read_batch(left[:BATCH], seed, whole, results))
        lines = results.read_text().splitlines() if results.exists() else []
        found.update(json.loads(line) for line in lines)
        if status:
            ended = next(number for number in left if number not in found)
            what = f"took more than {LIMIT} s" if status == signal.SIGALRM else f"ended by {status}"
            found[ended] = what
            name = READERS[ended % len(READERS)].name
            (whole / name / name).write_bytes(contents[name])
    for number, what in found.items():
        if what not in ("valid", "refused"):
            name = READERS[number % len(READERS)].name
            (place / f"{number}-{name}").write_bytes(mutated(number, seed, contents[name]))
    return found, round(peak() - before)


def in_child(work: Callable[[], None]) -> int:
    """Do `work` in a child process; 0, or the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code <= 0, "a child failed outside of readers"
    return -code


def peak() -> float:
    """Most memory that a child has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> int:
    """Run as long as asked, and print figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of files to read, no others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that failed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    place = options.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    started = time.perf_counter()
    numbers = options.only or range(options.files)
    found, growth = fuzz(numbers, options.seed, place)
    failures = {n: what for n, what in found.items() if what not in ("valid", "refused")}
    counts = Counter("failed" if n in failures else what for n, what in found.items())
    for number, what in sorted(failures.items())[:20]:
        print(f"{number} ({READERS[number % len(READERS)].name}): {what}")
    seconds = round(time.perf_counter() - started, 1)
    figures = {"files": len(numbers), "readers": len(READERS), **counts, "seconds": seconds}
    print(json.dumps({**figures, "growth_mib": growth}))
    return 1 if failures or growth > MEMORY else 0


if __name__ == "__main__":
    sys.exit(main())
