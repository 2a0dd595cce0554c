"""Reading pickled SciPy matrices without running what else a pickle may hold.

Nothing of NumPy or SciPy takes part in unpickling either: given odd attributes, their C code ends
the process. Stand-ins collect what the file says, which is checked before arrays are made of it.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import DataError, shorten
from ..tensors.later import sp
from .raw_files import open_plain

FORMATS = ("coo", "csr", "csc")
NUMBERS = re.compile(r"b1|[iu][1248]|f[48]")
"""Types of arrays in a matrix, as a pickle names them, without byte order."""


class _Matrix:
    """Stands in for a SciPy matrix while unpickling; only collects its attributes.

    Attribute names of old releases (`row`, `col`) are read as well as those of new ones (`coords`).
    """

    format = ""


class _Type:
    """Stands in for `numpy.dtype`: a type of numbers, or nothing."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[2:5] != (None, None, None):
            raise ValueError("an array of numbers was expected")
        self.order = state[1]

    def made(self) -> np.dtype:
        """The type. Raises `TypeError` if it is none of numbers."""
        if not isinstance(self.name, str) or not NUMBERS.fullmatch(self.name):
            raise TypeError("an array of numbers was expected")
        if self.order not in ("<", ">", "|", "="):
            raise TypeError(f"byte order {self.order!r} is unknown")
        return np.dtype(self.order + self.name)


class _Array:
    """Stands in for `numpy.ndarray`; collects shape, type, order and bytes."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state[-4:]  # a version may come first

    def made(self) -> np.ndarray:
        """The array. Raises `TypeError` or `ValueError` if the parts do not fit."""
        shape, kind, in_columns, raw = self.state
        if isinstance(raw, str):  # written by Python 2
            raw = raw.encode("latin1")
        if not isinstance(kind, _Type) or not isinstance(raw, bytes | bytearray):
            raise TypeError("an array of numbers was expected")
        dtype = kind.made()
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} has {len(raw)} bytes")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if in_columns else "C")


def load_matrix(path: Path) -> sp.coo_matrix:
    """Read one pickled SciPy matrix (COO, CSR or CSC, any SciPy release).

    Admits the containers of NumPy and SciPy that such a matrix consists of and nothing else.
    Repeated entries are summed and zeros removed, so each pair stands once, in row order.

    Raises:
        DataError: the file is missing, is no pickle, names anything else, or holds no matrix.
    """
    with open_plain(path) as file:
        try:
            _require_small_memo(file)
            content = _Unpickler(path, file).load()
        except DataError:
            raise
        except Exception as error:  # a damaged pickle can raise nearly anything
            reason = _first_line(error)
            raise DataError(f"{path}: damaged pickle ({reason}); copy it again") from error
    if not isinstance(content, _Matrix):
        kind = "ndarray" if isinstance(content, _Array) else type(content).__name__
        raise DataError(f"{path}: holds a {kind}, not a SciPy matrix; save it with scipy.sparse")
    try:
        matrix = _rebuild(content).tocoo()
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: broken matrix ({_first_line(error)}); copy it again") from error
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    order = np.lexsort((matrix.col, matrix.row))
    entries = (matrix.data[order], (matrix.row[order], matrix.col[order]))
    return sp.coo_matrix(entries, matrix.shape)


def _require_small_memo(file: IO[bytes]) -> None:
    """Raise `ValueError` if the pickle numbers an object far beyond those that it has.

    The unpickler would make a table of that size. Lengths are compared with the file on the way.
    """
    for place, (operation, number, _) in enumerate(pickletools.genops(file)):
        if "PUT" in operation.name and int(number or 0) > place:
            raise ValueError("it numbers an object that it does not have")
    file.seek(0)


class _Unpickler(pickle.Unpickler):
    """Resolves the names in `_admitted()` only."""

    def __init__(self, path: Path, file: Any) -> None:
        super().__init__(file, encoding="latin1")  # what NumPy arrays of Python 2 need
        self._path = path
        self._names = _admitted()

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name in the file. Raises `DataError` for all that is not admitted."""
        if (module, name) not in self._names:
            asked = shorten(f"{module}.{name}")
            raise DataError(
                f"{self._path}: refused, the pickle asks for '{asked}', which is no part "
                "of a SciPy matrix and could run code; get the file from a source you trust"
            )
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to outside objects."""
        raise DataError(f"{self._path}: refused, the pickle refers to an object outside of it")


def _admitted() -> dict[tuple[str, str], Any]:
    """`(module, name)` as written in the file -> what it becomes here.

    Modules moved between releases (`scipy.sparse.coo` became `scipy.sparse._coo`, `numpy.core`
    became `numpy._core`): files name places that newer releases no longer have. The classes are
    made for each load: a hostile file can set attributes of its own copy only.
    """
    names: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): type("dtype", (_Type,), {}),
        ("_codecs", "encode"): _encode,
    }
    for package in ("numpy.core", "numpy._core"):
        names[f"{package}.multiarray", "_reconstruct"] = _reconstruct
        names[f"{package}.multiarray", "scalar"] = _scalar
        names[f"{package}.numeric", "_frombuffer"] = _from_buffer
    for kind in FORMATS:
        for name in (f"{kind}_matrix", f"{kind}_array"):
            stand_in = type(name, (_Matrix,), {"format": kind})
            names[f"scipy.sparse.{kind}", name] = stand_in
            names[f"scipy.sparse._{kind}", name] = stand_in
    return names


def _encode(text: str, encoding: str) -> bytes:
    """How protocols 0 to 2 store bytes; only the one encoding they use."""
    if encoding != "latin1":
        raise ValueError(f"unexpected encoding {encoding!r}")
    return text.encode("latin1")


def _reconstruct(*_: Any) -> _Array:
    """How an array begins, before its state is set."""
    return _Array()


def _scalar(kind: _Type, raw: bytes | str) -> Any:
    """How a number of NumPy is stored."""
    array = _Array()
    array.__setstate__(((1,), kind, False, raw))
    return array.made()[0].item()


def _from_buffer(buffer: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    """How protocol 5 stores contiguous arrays."""
    array = _Array()
    array.__setstate__((shape, kind, order == "F", buffer))
    return array


def _rebuild(stand_in: _Matrix) -> Any:
    """The matrix whose attributes `stand_in` has collected; SciPy checks bounds and lengths."""
    state = vars(stand_in)
    shape = tuple(int(size) for size in state["_shape"])
    data = _array(state["data"])
    if stand_in.format == "coo":
        row, col = state["coords"] if "coords" in state else (state["row"], state["col"])
        return sp.coo_matrix((data, (_places(row), _places(col))), shape)
    make: Any = sp.csr_matrix if stand_in.format == "csr" else sp.csc_matrix
    matrix = make((data, _places(state["indices"]), _places(state["indptr"])), shape)
    matrix.check_format(full_check=True)
    return matrix


def _array(value: Any) -> np.ndarray:
    if not isinstance(value, _Array):
        raise TypeError("an array of numbers was expected")
    return value.made().copy()  # what lies over the bytes of the file cannot be written


def _places(value: Any) -> np.ndarray:
    array = _array(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"rows and columns are whole numbers, not {array.dtype}")
    return array


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
