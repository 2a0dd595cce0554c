"""Reading pickled SciPy matrices without running what else a pickle may hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from ..errors import DataError

FORMATS = ("coo", "csr", "csc")


class _Matrix:
    """Stands in for a SciPy matrix while unpickling; only collects its attributes.

    No SciPy code runs on the file's content before the arrays are checked, and attribute names
    of old releases (`row`, `col`) are read as well as those of new ones (`coords`).
    """

    format = ""


def load_matrix(path: Path) -> sp.coo_matrix:
    """Read one pickled SciPy matrix (COO, CSR or CSC, any SciPy release).

    Admits the containers of NumPy and SciPy that such a matrix consists of and nothing else.
    Repeated entries are summed and zeros removed, so each pair stands once, in row order.

    Raises:
        DataError: the file is missing, is no pickle, names anything else, or holds no matrix.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(path, file).load()
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{path}: damaged pickle ({_first_line(error)}); copy it again") from error
    if not isinstance(content, _Matrix):
        kind = type(content).__name__
        raise DataError(f"{path}: holds a {kind}, not a SciPy matrix; save it with scipy.sparse")
    try:
        matrix = _rebuild(content).tocsr()
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: broken matrix ({_first_line(error)}); copy it again") from error
    matrix.eliminate_zeros()
    return matrix.tocoo()


class _Unpickler(pickle.Unpickler):
    """Resolves the names in `_admitted()` only."""

    def __init__(self, path: Path, file: Any) -> None:
        super().__init__(file, encoding="latin1")  # what NumPy arrays of Python 2 need
        self._path = path
        self._names = _admitted()

    def find_class(self, module: str, name: str) -> Any:
        """The object for a name in the file. Raises `DataError` for all that is not admitted."""
        if (module, name) not in self._names:
            raise DataError(
                f"{self._path}: refused, the pickle asks for '{module}.{name}', which is no part "
                "of a SciPy matrix and could run code; get the file from a source you trust"
            )
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to outside objects."""
        raise DataError(f"{self._path}: refused, the pickle refers to an object outside of it")


def _admitted() -> dict[tuple[str, str], Any]:
    """`(module, name)` as written in the file -> what it becomes here.

    Modules moved between releases (`scipy.sparse.coo` became `scipy.sparse._coo`, `numpy.core`
    became `numpy._core`): files name places that newer releases no longer have.
    """
    multiarray = _numpy_core().multiarray
    names: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
    }
    for package in ("numpy.core", "numpy._core"):
        names[f"{package}.multiarray", "_reconstruct"] = multiarray._reconstruct
        names[f"{package}.multiarray", "scalar"] = multiarray.scalar
        names[f"{package}.numeric", "_frombuffer"] = _from_buffer
    for kind in FORMATS:
        for name in (f"{kind}_matrix", f"{kind}_array"):
            # A fresh class for each load: a hostile file can set attributes of its own copy only.
            stand_in = type(name, (_Matrix,), {"format": kind})
            names[f"scipy.sparse.{kind}", name] = stand_in
            names[f"scipy.sparse._{kind}", name] = stand_in
    return names


def _numpy_core() -> Any:
    """`numpy._core`, called `numpy.core` before NumPy 2."""
    return np._core if hasattr(np, "_core") else np.core


def _encode(text: str, encoding: str) -> bytes:
    """How protocols 0 to 2 store bytes; only the one encoding they use."""
    if encoding != "latin1":
        raise ValueError(f"unexpected encoding {encoding!r}")
    return text.encode("latin1")


def _from_buffer(
    buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]
) -> np.ndarray:
    """How protocol 5 stores contiguous arrays."""
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _rebuild(stand_in: _Matrix) -> Any:
    """The matrix whose attributes `stand_in` has collected; SciPy checks bounds and lengths."""
    state = vars(stand_in)
    shape = tuple(int(size) for size in state["_shape"])
    if stand_in.format == "coo":
        row, col = state["coords"] if "coords" in state else (state["row"], state["col"])
        return sp.coo_matrix((_numbers(state["data"]), (_numbers(row), _numbers(col))), shape)
    arrays = tuple(_numbers(state[name]) for name in ("data", "indices", "indptr"))
    make: Any = sp.csr_matrix if stand_in.format == "csr" else sp.csc_matrix
    matrix = make(arrays, shape)
    matrix.check_format(full_check=True)
    return matrix


def _numbers(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise TypeError("an array of numbers was expected")
    return value


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
