"""Vectors on disk as they are made: nothing is encoded twice, after a kill or next week."""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import RunError
from ..fileio import atomic_path

DIGEST_BYTES = 32


class VectorLog:
    """Digest of an input -> its vector, in a file to which records are added.

    The file begins with the width as eight bytes; a record is a digest, a float32 vector and their
    CRC-32. What a kill left of a record at the end is cut off; a record that has changed since it
    was written counts as missing.

    Args:
        path: made with the first vector; read if it exists.

    Raises:
        RunError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._vectors: dict[bytes, np.ndarray] = {}
        try:
            if path.exists():
                self._read()
            self._file = path.open("ab")
        except OSError as error:
            raise RunError(f"cannot use {path}: {error.strerror}; check the folder") from error

    def __enter__(self) -> VectorLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __contains__(self, digest: object) -> bool:
        return digest in self._vectors

    def __getitem__(self, digest: bytes) -> np.ndarray:
        """The vector `(dim,)` of a digest."""
        return self._vectors[digest]

    def __len__(self) -> int:
        return len(self._vectors)

    def append(self, digests: Sequence[bytes], vectors: np.ndarray) -> None:
        """Add vectors `(n, dim)` and hand them to the system before returning.

        Raises:
            RunError: the disk is full.
        """
        record = _record(vectors.shape[1])
        rows = np.empty(len(digests), record)
        rows["digest"] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
        rows["vector"] = vectors
        rows["check"] = _checks(rows)
        try:
            if self._file.tell() == 0:
                self._file.write(np.int64(vectors.shape[1]).tobytes())
            self._file.write(rows.tobytes())
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"cannot write {self.path}: {error.strerror}; free some space, then run the same "
                "command again: what is done stays"
            ) from error
        self._keep(rows)

    def without_others(self, wanted: Collection[bytes]) -> None:
        """Write the file anew if most of its vectors are of other digests than `wanted`.

        Raises:
            RunError: the disk is full.
        """
        of_use = [digest for digest in wanted if digest in self]
        if not of_use or 2 * len(of_use) >= len(self):
            return
        with atomic_path(self.path) as temporary, VectorLog(temporary) as fresh:
            fresh.append(of_use, np.stack([self[digest] for digest in of_use]))

    def _keep(self, rows: np.ndarray) -> None:
        digests = rows["digest"].tobytes()
        for number, vector in enumerate(rows["vector"]):
            digest = digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
            self._vectors[digest] = vector

    def _read(self) -> None:
        content = self.path.read_bytes()
        width = int(np.frombuffer(content[:8], np.int64)[0]) if len(content) >= 8 else 0
        if width <= 0:
            os.truncate(self.path, 0)
            return
        record = _record(width)
        n_whole = (len(content) - 8) // record.itemsize
        os.truncate(self.path, 8 + n_whole * record.itemsize)
        rows = np.frombuffer(content, record, count=n_whole, offset=8)
        self._keep(rows[rows["check"] == _checks(rows)])


def _record(width: int) -> np.dtype:
    digest = ("digest", np.uint8, DIGEST_BYTES)
    return np.dtype([digest, ("vector", np.float32, width), ("check", np.uint32)])


def _checks(rows: np.ndarray) -> np.ndarray:
    """CRC-32 of all of every record but itself, `(n,)`."""
    size = rows.dtype.itemsize
    content = memoryview(rows.tobytes())
    starts = range(0, len(rows) * size, size)
    return np.array([zlib.crc32(content[at : at + size - 4]) for at in starts], np.uint32)
