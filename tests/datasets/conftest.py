"""Tiny data folders in every layout, written by the test."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

# user, item, label (0 train, 1 valid, 2 test)
ROWS = [
    (0, 0, 0),
    (0, 1, 0),
    (0, 2, 1),
    (0, 3, 2),
    (1, 1, 0),
    (1, 2, 0),
    (1, 3, 1),
    (1, 0, 2),
    (2, 3, 0),
    (2, 0, 0),
    (2, 4, 2),
]
N_USERS, N_ITEMS = 3, 5


@pytest.fixture
def write_inter(tmp_path):
    """Writes `toy/toy.inter` from rows of `(user, item, label)`; returns the folder."""

    def write(rows=ROWS, header="userID\titemID\trating\ttimestamp\tx_label", name="toy.inter"):
        folder = tmp_path / "toy"
        folder.mkdir(exist_ok=True)
        lines = [f"{u}\t{i}\t1.0\t{100 - n}\t{x}" for n, (u, i, x) in enumerate(rows)]
        (folder / name).write_text("\n".join([header, *lines]) + "\n")
        return folder

    return write


@pytest.fixture
def write_mmssl(tmp_path):
    """Writes the three matrices; returns the folder."""

    def write(rows=ROWS, shape=(N_USERS, N_ITEMS), kind="coo", protocol=4):
        folder = tmp_path / "mmssl"
        folder.mkdir(exist_ok=True)
        for label, name in enumerate(("trnMat", "valMat", "tstMat")):
            users, items = zip(*[(u, i) for u, i, x in rows if x == label], strict=True)
            matrix = sp.coo_matrix((np.ones(len(users), np.float32), (users, items)), shape)
            (folder / f"{name}.pkl").write_bytes(pickle.dumps(matrix.asformat(kind), protocol))
        return folder

    return write


@pytest.fixture
def features():
    """`(N_ITEMS, 3)` float32."""
    return np.arange(N_ITEMS * 3, dtype=np.float32).reshape(N_ITEMS, 3) + 1
