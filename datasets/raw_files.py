"""Bytes and text of files: compressed or not, in any encoding, and of plain files only."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import stat
import zlib
from pathlib import Path
from typing import IO, Any

from ..errors import ConfigError, DataError
from ..tensors.later import pa

COMPRESSED = (".gz", ".zst")
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
BLOCK = 2**22
MOST_EXPANSION = 500
"""Times its size that a compressed file of more than `FREE_SIZE` may hold; text comes to 20."""
FREE_SIZE = 2**28


def table_suffix(path: Path) -> str:
    """`.csv` of `log.csv` and of `log.csv.gz`; an empty string if there is none."""
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def table_stem(path: Path) -> str:
    """`log` of `log.csv` and of `log.csv.gz`."""
    return Path(path.stem).stem if path.suffix in COMPRESSED else path.stem


def open_plain(path: Path) -> IO[bytes]:
    """Open a file to read, but no pipe, device or folder: those may never end.

    Raises:
        DataError: it is none, or cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "folder" if stat.S_ISDIR(mode) else "pipe, socket or device"
            raise DataError(f"{path}: is a {kind}, not a file; give a file")
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # a NUL in the name
        raise DataError(f"{str(path)!r}: cannot be the name of a file; check the path") from error


def read_bytes(path: Path) -> bytes:
    """The content of a file, expanded if its name ends in `.gz` or `.zst`.

    Raises:
        DataError: it is no plain file, cannot be read, is damaged, or grows beyond measure.
    """
    with open_plain(path) as file:
        try:
            if path.suffix not in COMPRESSED:
                return file.read()
            return _expanded(path, file)
        except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException) as error:
            raise DataError(f"{path}: damaged ({error}); compress it again") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"{path}: cannot be read ({reason}); write it again") from error


def _expanded(path: Path, file: IO[bytes]) -> bytes:
    size = max(1, os.fstat(file.fileno()).st_size)
    stream: Any = gzip.GzipFile(fileobj=file)
    if path.suffix == ".zst":
        stream = pa.CompressedInputStream(pa.PythonFile(file), "zstd")
    out = io.BytesIO()
    while block := stream.read(BLOCK):
        out.write(block)
        if out.tell() > max(FREE_SIZE, MOST_EXPANSION * size):
            raise DataError(
                f"{path}: expands to more than {MOST_EXPANSION} times its size, which no table "
                "does; expand it yourself if it is sound"
            )
    return out.getvalue()


def read_text(path: Path, encoding: str) -> bytes:
    """The text of a file as UTF-8 without a byte order mark.

    Raises:
        ConfigError: there is no such encoding.
        DataError: the file cannot be read, or is not written in it; the line is named.
    """
    raw = read_bytes(path)
    try:
        name = codecs.lookup(encoding).name
        if name == "utf-8":
            raw = raw.removeprefix(codecs.BOM_UTF8)
            raw.decode(name)
            return raw
        return raw.decode(name).removeprefix("\ufeff").encode()
    except LookupError:
        raise ConfigError(
            f"data.encoding is '{encoding}', which Python does not know: try utf-8, utf-16, latin-1"
        ) from None
    except UnicodeError as error:
        line = raw.count(b"\n", 0, getattr(error, "start", 0)) + 1
        marked = next((MARKS[mark] for mark in MARKS if raw.startswith(mark)), "latin-1")
        raise DataError(
            f"{path}, line {line}: cannot be read as {encoding} text; save it in UTF-8, or set "
            f"data.encoding, perhaps to {marked}"
        ) from error
