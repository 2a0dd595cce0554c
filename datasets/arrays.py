"""NumPy's files, read so that nothing in them is run, believed or inflated unasked.

What a header says is compared with what the file holds before memory is taken, pickled objects
are refused, and of an archive only the arrays asked for are read.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.lib import format as npy

from ..errors import DataError, shorten
from ..fileio import require_memory
from .ids import broken_text
from .raw_files import open_plain

MAGIC = {b"\x93NUMPY": ".npy array", b"PK\x03\x04": ".npz archive", b"PAR1": "Parquet table"}
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""Of all versions that plain types are written in."""
BLOCK = 2**24
SAVE = {
    ".npy": "not a readable .npy array of numbers; save it again with numpy.save",
    ".npz": "not a readable .npz of numbers or strings; save it again with numpy.savez, and ids as "
    "strings: ids.astype(str), not Python objects",
}


def load_array(path: Path) -> np.ndarray:
    """One array from a `.npy` file.

    Raises:
        DataError: the file is missing, damaged, or no such array.
    """
    with _damage_in_one_line(path, ".npy"), open_plain(path) as file:
        _refuse_other_kind(path, file, ".npy array")
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return _read(path, file, size)


def map_array(path: Path, mode: Literal["r", "c"] = "r") -> np.ndarray:
    """The array of a `.npy` file, mapped: of it, only what is read takes memory.

    Args:
        path: the file.
        mode: `r` to read, `c` for an array that may be written, without changing the file.

    Raises:
        DataError: as for `load_array`.
    """
    with _damage_in_one_line(path, ".npy"), open_plain(path) as file:
        _refuse_other_kind(path, file, ".npy array")
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        shape, in_columns, dtype = _header(file, size)
        return np.memmap(file, dtype, mode, file.tell(), shape, "F" if in_columns else "C")


def load_arrays(
    path: Path, names: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """The named arrays of an `.npz` file, the optional ones if they are there; no others are read.

    Without names, all arrays are read.

    Raises:
        DataError: the file is missing or damaged, or lacks an array.
    """
    with _damage_in_one_line(path, ".npz"), open_plain(path) as file:
        _refuse_other_kind(path, file, ".npz archive")
        with zipfile.ZipFile(file) as archive:
            members = set(archive.namelist())
            if names is None:
                names = sorted(member.removesuffix(".npy") for member in members)
            absent = [name for name in names if f"{name}.npy" not in members]
            if absent:
                raise DataError(f"{path}: lacks the array '{absent[0]}'; needs {', '.join(names)}")
            wanted = [*names, *(name for name in optional if f"{name}.npy" in members)]
            return {name: _member(path, archive, name) for name in wanted}


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        array = _read(path, member, info.file_size)
        if member.read(1):  # reads to the end, where the checksum is compared
            raise DataError(f"{path}: '{name}' has bytes after its end; save it again")
    return array


@contextmanager
def _damage_in_one_line(path: Path, suffix: str) -> Iterator[None]:
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = shorten(str(error) or type(error).__name__)
        raise DataError(f"{path}: {SAVE[suffix]} ({reason})") from error


def _refuse_other_kind(path: Path, file: IO[bytes], wanted: str) -> None:
    start = file.read(8)
    file.seek(0)
    found = next((kind for mark, kind in MAGIC.items() if start.startswith(mark)), wanted)
    if found != wanted:
        raise DataError(f"{path}: is no {wanted} but a {found}; give it the right name")


def _header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type, of what `size` bytes can hold."""
    read_header = HEADERS.get(npy.read_magic(file))
    if read_header is None:
        raise ValueError("its version is unknown")
    with warnings.catch_warnings():  # files of Python 2 read as well as others
        warnings.simplefilter("ignore", UserWarning)
        shape, in_columns, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    n_bytes = math.prod(shape) * max(1, dtype.itemsize)  # text of no length is given one
    if min(shape, default=0) < 0 or n_bytes > size:
        raise ValueError(f"its header says {n_bytes} bytes, but it has {size}")
    return shape, in_columns, dtype


def _read(path: Path, file: IO[bytes], size: int) -> np.ndarray:
    """The array in `file`, which has `size` bytes or claims so."""
    shape, in_columns, dtype = _header(file, size)
    n_bytes = math.prod(shape) * max(1, dtype.itemsize)
    require_memory(f"{path}: an array of shape {shape}", n_bytes)
    array = np.empty(math.prod(shape), dtype=dtype)
    raw, done = array.view(np.uint8) if n_bytes else array, 0
    while done < n_bytes:
        block = file.read(min(BLOCK, n_bytes - done))
        if not block:
            raise ValueError(f"it ends after {done} of {n_bytes} bytes")
        raw[done : done + len(block)] = np.frombuffer(block, dtype=np.uint8)
        done += len(block)
    if broken_text(array).any():
        raise ValueError("its text has letters that are none")
    return array.reshape(shape[::-1]).T if in_columns else array.reshape(shape)
