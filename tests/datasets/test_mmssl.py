"""The MMSSL layout is read from pickles of any SciPy release, and nothing else is unpickled."""

import os
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from crossalign.datasets import DataError, DataOptions, load_dataset
from crossalign.datasets.safe_pickle import load_matrix

TRAIN = [[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 0, 3]]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["coo", "csr", "csc"])
def test_reads_every_matrix_format_and_protocol(write_mmssl, kind, protocol):
    data = load_dataset(write_mmssl(kind=kind, protocol=protocol))
    assert (data.name, data.n_users, data.n_items) == ("mmssl", 3, 5)
    assert data.train.tolist() == TRAIN
    assert data.valid.tolist() == [[0, 1], [2, 3]]
    assert data.test.tolist() == [[0, 1, 2], [3, 0, 4]]


def test_reads_names_of_old_scipy_and_numpy(write_mmssl):
    """Protocol 3 stores names as text lines, so an old release's file can be imitated."""
    folder = write_mmssl(protocol=3)
    path = folder / "trnMat.pkl"
    content = path.read_bytes()
    old = content.replace(b"cscipy.sparse._coo\n", b"cscipy.sparse.coo\n")
    old = old.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert old != content
    path.write_bytes(old)
    assert load_dataset(folder).train.tolist() == TRAIN


class _OldMatrix:
    """Pickles as a `coo_matrix` with the attributes that old SciPy releases gave it."""

    def __init__(self, matrix):
        self.state = {"_shape": matrix.shape, "row": matrix.row, "col": matrix.col}
        self.state["data"] = matrix.data

    def __reduce__(self):
        return sp.coo_matrix, (), self.state


def test_reads_row_and_col_attributes_of_old_scipy(tmp_path):
    matrix = sp.coo_matrix(([1.0, 1.0], ([0, 1], [2, 0])), (2, 3))
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(_OldMatrix(matrix)))
    assert load_matrix(tmp_path / "m.pkl").toarray().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_repeated_entries_count_once_and_zeros_do_not_count(tmp_path):
    matrix = sp.coo_matrix(([1.0, 1.0, 0.0], ([0, 0, 1], [2, 2, 0])), (2, 3))
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(matrix))
    loaded = load_matrix(tmp_path / "m.pkl")
    assert (loaded.row.tolist(), loaded.col.tolist()) == ([0], [2])


def test_valid_and_test_can_be_swapped(write_mmssl):
    folder = write_mmssl()
    plain = load_dataset(folder)
    swapped = load_dataset(folder, options=DataOptions(swap_valid_test=True))
    assert torch.equal(plain.valid, swapped.test)
    assert torch.equal(plain.test, swapped.valid)


def test_float16_features_are_widened_before_arithmetic(write_mmssl, features):
    folder = write_mmssl()
    np.save(folder / "audio_feat.npy", (features * 4000).astype(np.float16))
    data = load_dataset(folder)
    assert data.features["audio"].dtype == torch.float32
    assert torch.isfinite(data.features["audio"].sum())
    assert data.notes == ("audio: stored as float16, widened to float32",)


class _RunsCode:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _disguised_attack():
    """A matrix whose data attribute runs a command when unpickled the usual way."""
    matrix = sp.coo_matrix(np.eye(2))
    matrix.payload = _RunsCode(os.system, "touch /tmp/never")
    return matrix


HOSTILE = {
    "command": (_RunsCode(os.system, "true"), f"'{os.system.__module__}.system'"),
    "eval": (_RunsCode(eval, "1"), "'builtins.eval'"),
    "getattr": (_RunsCode(getattr, 1, "real"), "'builtins.getattr'"),
    "numpy load": (_RunsCode(np.load, "x"), "'numpy.load'"),
    "inside a matrix": (_disguised_attack(), f"'{os.system.__module__}.system'"),
    "a name of two lines": (b"\x80\x04\x8c\x03a\nb\x8c\x01c\x93.", "'a b.c'"),
    "lil matrix": (sp.lil_matrix(np.eye(2)), "'scipy.sparse._lil.lil_matrix'"),
}


@pytest.mark.parametrize(("content", "name"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("protocol", [2, 4])
def test_pickle_that_asks_for_anything_else_is_refused_by_name(
    write_mmssl, content, name, protocol
):
    folder = write_mmssl()
    path = folder / "valMat.pkl"
    raw = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
    path.write_bytes(raw)
    name = name if protocol == 4 else name.replace("builtins", "__builtin__")
    with pytest.raises(DataError, match=re.escape(name)) as caught:
        load_dataset(folder)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def _matrix_with(**state):
    matrix = sp.coo_matrix(np.eye(2))
    matrix.__dict__.update(state)
    return pickle.dumps(matrix)


def _odd_type(names):
    """A pickle in which a type of numbers has `names` of fields, which NumPy's code crashes on."""
    content = pickle.dumps(sp.coo_matrix(np.eye(2)), 4)
    at = content.index(b"NNNJ")
    return content[:at] + pickle.dumps(names, 4)[2:-1] + content[at + 3 :]


BROKEN = {
    "odd type": (_odd_type(20046), "damaged pickle"),
    "absurd memo": (b"\x80\x04Nr\xff\xff\xff\x7f.", "damaged pickle"),
    "absurd length": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\0.", "damaged pickle"),
    "rows as floats": (_matrix_with(coords=(np.zeros(2), np.zeros(2))), "broken matrix"),
    "absurd shape": (_matrix_with(_shape=(10**15, 2)), "shape"),
    "empty": (b"", "damaged pickle"),
    "no pickle": (b"hello", "damaged pickle"),
    "cut off": (pickle.dumps(sp.coo_matrix(np.eye(9)))[:-20], "damaged pickle"),
    "list": (pickle.dumps([1, 2]), "holds a list, not a SciPy matrix"),
    "array": (pickle.dumps(np.eye(2)), "holds a ndarray, not a SciPy matrix"),
    "id out of range": (_matrix_with(_shape=(1, 1)), "broken matrix"),
    "lengths differ": (_matrix_with(data=np.ones(5)), "broken matrix"),
    "objects": (_matrix_with(data=np.array([{}, {}], dtype=object)), "broken matrix"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_pickle_is_one_clear_line(write_mmssl, content, message):
    folder = write_mmssl()
    (folder / "tstMat.pkl").write_bytes(content)
    with pytest.raises(DataError, match=f"tstMat.pkl: {message}") as caught:
        load_dataset(folder)
    assert "\n" not in str(caught.value)


def test_missing_matrix_and_other_shape_are_refused(write_mmssl):
    folder = write_mmssl()
    (folder / "valMat.pkl").write_bytes(pickle.dumps(sp.coo_matrix(np.ones((3, 6)))))
    with pytest.raises(DataError, match=r"valMat.pkl: shape \(3, 6\) differs from \(3, 5\)"):
        load_dataset(folder)
    (folder / "valMat.pkl").unlink()
    with pytest.raises(DataError, match=r"lacks valMat.pkl; MMSSL data have all three"):
        load_dataset(folder)


def test_chronological_split_needs_times(write_mmssl):
    with pytest.raises(DataError, match="has no times"):
        load_dataset(write_mmssl(), options=DataOptions(split="chronological"))
