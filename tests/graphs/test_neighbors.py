"""The neighbour file: readable by anyone, refused with one clear line when wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from crossalign.errors import DataError, RunError
from crossalign.graphs import Neighbors, load_neighbors, save_neighbors


@pytest.fixture
def saved(tmp_path):
    neighbors = Neighbors(torch.tensor([[1, 2], [0, -1], [0, -1]]), torch.tensor([[3, 1]] * 3))
    path = tmp_path / "neighbors.npz"
    save_neighbors(path, neighbors, {"data_hash": "abc", "k": 2})
    return path, neighbors


def test_roundtrip(saved):
    path, neighbors = saved
    loaded = load_neighbors(path, n_items=3, data_hash="abc")
    assert torch.equal(loaded.ids, neighbors.ids)
    assert torch.equal(loaded.counts, neighbors.counts)
    assert loaded.metadata == {"data_hash": "abc", "k": 2}


def test_plain_numpy_reads_it(saved):
    path, neighbors = saved
    with np.load(path, allow_pickle=False) as file:
        assert file["ids"].tolist() == neighbors.ids.tolist()
        assert json.loads(str(file["metadata"]))["k"] == 2


@pytest.fixture
def folder(saved, tmp_path):
    path = tmp_path / "friends"
    save_neighbors(path, saved[1], {"data_hash": "abc"})
    return path


def test_a_folder_is_mapped_and_never_changed_by_the_tensors(folder, saved):
    loaded = load_neighbors(folder, n_items=3, data_hash="abc")
    assert torch.equal(loaded.ids, saved[1].ids)
    assert torch.equal(loaded.counts, saved[1].counts)
    assert loaded.metadata == {"data_hash": "abc"}
    loaded.ids[0] = -1
    mapped = np.load(folder / "ids.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert mapped.tolist() == saved[1].ids.tolist()
    assert "crossalign-neighbors-1" in (folder / "metadata.json").read_text()


def test_an_unfinished_or_damaged_folder_is_refused(folder, saved):
    about = (folder / "metadata.json").read_text()
    (folder / "metadata.json").unlink()
    with pytest.raises(DataError, match=r"no metadata\.json"):
        load_neighbors(folder)
    for wrong in ("{", "{}", "[]"):
        (folder / "metadata.json").write_text(wrong)
        with pytest.raises(DataError, match="damaged or no neighbour file"):
            load_neighbors(folder)
    (folder / "metadata.json").write_text(about.replace("-1", "-9"))
    with pytest.raises(DataError, match="crossalign-neighbors-9 is not"):
        load_neighbors(folder)
    (folder / "metadata.json").write_text(about)
    (folder / "ids.npy").write_bytes(b"")
    with pytest.raises(DataError, match="damaged or no neighbour file"):
        load_neighbors(folder)
    save_neighbors(folder, saved[1], {})  # writing again mends it
    assert torch.equal(load_neighbors(folder).ids, saved[1].ids)


def test_a_folder_does_not_replace_a_file(saved, tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(RunError, match="a file is in the way"):
        save_neighbors(tmp_path / "notes", saved[1])


def test_wrong_rows_are_named_wherever_they_are(folder, monkeypatch):
    """Lists are checked a few at a time; the item in the message counts from the first."""
    monkeypatch.setattr("crossalign.graphs.neighbors.CHECKED_ROWS", 1)
    for value, message in ((7, "item 2 has a neighbour 7"), (2, "item 2 is its own neighbour")):
        (folder / "metadata.json").write_text('{"format": "crossalign-neighbors-1"}')  # an old one
        np.save(folder / "ids.npy", np.array([[1, 2], [0, -1], [value, -1]]))
        with pytest.raises(DataError, match=message):
            load_neighbors(folder)


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -40])
def test_truncated_files_are_refused(saved, keep):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="damaged or no neighbour file") as caught:
        load_neighbors(path)
    assert "\n" not in str(caught.value)


def _arrays(**changes):
    arrays = {
        "format": np.array("crossalign-neighbors-1"),
        "metadata": np.array("{}"),
        "ids": np.array([[1], [0]]),
        "counts": np.array([[1], [1]]),
    }
    return {**arrays, **changes}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": np.zeros((2, 1), dtype=np.int64)}, "no neighbour file"),
        (_arrays(format=np.array("crossalign-neighbors-9")), "crossalign-neighbors-9 is not"),
        (_arrays(metadata=np.array("{")), "no neighbour file"),
        (_arrays(metadata=np.array("[1]")), "no neighbour file"),
        (_arrays(counts=np.zeros((2, 2), dtype=np.int64)), "int64 of one"),
        (_arrays(ids=np.array([[1.0], [0.0]])), "int64 of one"),
        (_arrays(ids=np.array([[1], [2]])), "item 1 has a neighbour 2 out of range"),
        (_arrays(ids=np.array([[-2], [0]])), "item 0 has a neighbour -2 out of range"),
        (_arrays(ids=np.array([[1], [1]])), "item 1 is its own neighbour"),
        (_arrays(ids=np.array([{}], dtype=object)), "no neighbour file"),
    ],
)
def test_wrong_contents_are_refused(tmp_path, arrays, message):
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_neighbors(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_other_data_is_refused(saved, tmp_path):
    path, _ = saved
    with pytest.raises(DataError, match="made for 3 items, the data set has 5"):
        load_neighbors(path, n_items=5)
    with pytest.raises(DataError, match="made from other data"):
        load_neighbors(path, data_hash="xyz")
    with pytest.raises(DataError, match="does not exist"):
        load_neighbors(tmp_path / "none.npz")
    with pytest.raises(DataError, match="damaged or no neighbour file"):
        load_neighbors(tmp_path)
