"""Neighbours from what `crossalign neighbors` wrote: a file, a folder, or one that is open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from crossalign.align import CROSS, CNALoss
from crossalign.errors import ConfigError
from crossalign.graphs import Neighbors, save_neighbors

IDS = torch.tensor([[1, 2], [0, -1], [3, 0], [2, 1]])
FILLED = torch.tensor([[1, 2], [0, 1], [3, 0], [2, 1]])
WAYS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "path": ("n.npz", lambda path: path),
    "text": ("n.npz", str),
    "numpy.load": ("n.npz", np.load),
    "open": ("n.npz", lambda path: path.open("rb")),
    "folder": ("neighbors", lambda path: path),
    "array of the folder": ("neighbors", lambda path: path / "ids.npy"),
    "mapped array": ("neighbors", lambda path: np.load(path / "ids.npy", mmap_mode="r")),
}
NAMED = [way for way in WAYS if way != "mapped array"]


@pytest.fixture
def given(tmp_path: Path) -> Callable[[str], Any]:
    """`given(way)`: a written table, as it is handed over."""

    def write(way: str) -> Any:
        name, handed_over = WAYS[way]
        save_neighbors(tmp_path / name, Neighbors(IDS, torch.ones_like(IDS).where(IDS >= 0, 0)))
        return handed_over(tmp_path / name)

    return write


def tables(n: int = 4) -> tuple[Tensor, ...]:
    return tuple(torch.randn(n, 3) for _ in range(3))


@pytest.mark.parametrize("way", WAYS)
def test_both_take_it(given: Callable[[str], Any], way: str) -> None:
    """The loss and the alignment have the table that was written, the item itself in its gaps."""
    torch.testing.assert_close(CNALoss(given(way)).neighbors, FILLED)
    align = CROSS(3, neighbors=given(way), n_prototypes=4)
    torch.testing.assert_close(align.cna.neighbors, FILLED)


@pytest.mark.parametrize("way", NAMED)
def test_of_another_catalogue_it_is_named(given: Callable[[str], Any], way: str) -> None:
    """The line says which file has the wrong number of items."""
    name = WAYS[way][0]
    with pytest.raises(ConfigError, match=rf"{name}\S* holds neighbours of 4 items, but") as error:
        CNALoss(given(way))(*tables(6), torch.arange(3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("last", [3, 5])
def test_cross_refuses_them_before_it_reads_a_row(given: Callable[[str], Any], last: int) -> None:
    """Also if the batch has an item that the smaller catalogue lacks."""
    align = CROSS(3, neighbors=given("path"), n_prototypes=4)
    item, image, text = tables(6)
    ids = torch.tensor([0, last])
    with pytest.raises(ConfigError, match=r"n.npz holds neighbours of 4 items, but"):
        align(torch.randn(6, 3), item, {"image": image, "text": text}, ids, ids)


def write_junk(folder: Path) -> dict[str, Any]:
    """Files that hold no neighbours, by name."""
    np.savez(folder / "other.npz", x=IDS.numpy())
    np.savez(folder / "floats.npz", ids=IDS.double().numpy())
    np.savez(folder / "large.npz", ids=IDS.numpy() + 2)
    (folder / "text.npz").write_text("item,neighbour")
    (folder / "empty.npz").write_bytes(b"")
    (folder / "half.npz").write_bytes((folder / "other.npz").read_bytes()[:90])
    torch.save(IDS, folder / "baby_item_top_5.pt")
    (folder / "bare").mkdir()
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.npz", "neighbour file .*nowhere.npz does not exist: make it with"),
        ("bare", "neighbour file .*ids.npy does not exist"),
        ("other.npz", "other.npz cannot be read as neighbours: give what `crossalign neighbors`"),
        ("text.npz", "text.npz cannot be read"),
        ("empty.npz", "empty.npz cannot be read"),
        ("half.npz", "half.npz cannot be read"),
        ("baby_item_top_5.pt", "baby_item_top_5.pt cannot be read"),
        ("floats.npz", r"must be an integer \(n_items, k\) table, not torch.float64"),
        ("large.npz", r"neighbors\[0, 1\] is 4, outside -1 .. 3: were they computed for another"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, name: str, message: str) -> None:
    path = write_junk(tmp_path).get(name, tmp_path / name)
    with pytest.raises(ConfigError, match=message) as error:
        CNALoss(path)
    assert "\n" not in str(error.value)


def test_an_archive_that_is_open_and_of_something_else_is_named(tmp_path: Path) -> None:
    write_junk(tmp_path)
    with pytest.raises(ConfigError, match=r"other\.npz cannot be read as neighbours"):
        CNALoss(np.load(tmp_path / "other.npz"))
    with pytest.raises(ConfigError, match="the mapping cannot be read as neighbours"):
        CNALoss({"counts": IDS})
