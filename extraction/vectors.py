"""Vectors on disk while they are made, so that a killed run goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import RunError

DIGEST_BYTES = 32


class VectorLog:
    """Digest of an input -> its vector, in a file that only ever grows.

    The file begins with the width as eight bytes; a record is a digest and a float32 vector. What
    a kill left of a record at the end is cut off.

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
        self._keep(np.frombuffer(content, record, count=n_whole, offset=8))


def _record(width: int) -> np.dtype:
    return np.dtype([("digest", np.uint8, DIGEST_BYTES), ("vector", np.float32, width)])
