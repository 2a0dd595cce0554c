"""Data of which nothing is held out: all rows train, those of users without training rows too."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from crossalign.datasets import DataOptions, load_dataset

EVERYTHING = DataOptions(hold_out=False)


def rows_of(dataset) -> set[tuple[int, int]]:
    assert not dataset.holds_out
    assert dataset.valid.shape == dataset.test.shape == (2, 0)
    users, items = dataset.train.tolist()
    assert len(set(zip(users, items, strict=True))) == len(users)
    return set(zip(users, items, strict=True))


def test_a_table_gives_every_row(tmp_path) -> None:
    """User 2 has held-out rows alone, which a split would drop."""
    file = tmp_path / "log.csv"
    file.write_text(
        "user,item,split\n0,0,train\n0,1,valid\n1,1,train\n1,0,test\n2,1,test\n0,2,test"
    )
    assert load_dataset(file).dropped == {"valid": 0, "test": 1}
    everything = load_dataset(file, options=EVERYTHING)
    assert rows_of(everything) == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 1)}
    assert everything.dropped == {"valid": 0, "test": 0}


def test_mmrec_and_mmssl_give_every_row_once(tmp_path) -> None:
    """MMSSL's matrices may share a pair."""
    (tmp_path / "a.inter").write_text("u\ti\tx_label\n0\t0\t0\n0\t1\t1\n1\t1\t0\n1\t0\t2\n")
    found = rows_of(load_dataset(tmp_path / "a.inter", options=EVERYTHING))
    assert found == {(0, 0), (0, 1), (1, 0), (1, 1)}
    folder = tmp_path / "mmssl"
    folder.mkdir()
    for name, cells in (
        ("trnMat", [[1, 0], [0, 1]]),
        ("valMat", [[1, 1], [0, 0]]),
        ("tstMat", [[0, 0], [1, 0]]),
    ):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(sp.coo_matrix(np.array(cells))))
    assert rows_of(load_dataset(folder, options=EVERYTHING)) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_planted_data_give_every_row() -> None:
    sizes = {"planted_users": 50, "planted_items": 40}
    split = load_dataset("planted", options=DataOptions(**sizes))
    everything = load_dataset("planted", options=DataOptions(hold_out=False, **sizes))
    n = sum(split.split(name).shape[1] for name in ("train", "valid", "test"))
    assert len(rows_of(everything)) == n


@pytest.mark.parametrize(
    "rows", ["user,item,split\n1,2,train\n1,3,train\n", "user,item\n1,2\n1,3\n"]
)
def test_training_rows_alone_and_rows_too_few_to_split_are_taken(tmp_path, rows) -> None:
    """What validates refuses them, what does not need not."""
    (tmp_path / "log.csv").write_text(rows)
    assert rows_of(load_dataset(tmp_path / "log.csv")) == {(0, 0), (0, 1)}
