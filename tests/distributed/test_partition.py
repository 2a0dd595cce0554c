"""Partition folders: nothing of the data is lost, and half of one is refused by name."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from crossalign import locks
from crossalign.cli import main
from crossalign.distributed.describe import parts_lines
from crossalign.distributed.folder import MANIFEST, array, open_parts, tensor
from crossalign.distributed.partition import PartitionOptions, partition
from crossalign.errors import ConfigError, RunError
from crossalign.graphs.dgl_import import dgl


@pytest.fixture
def copy(two_parts, tmp_path):
    return shutil.copytree(two_parts, tmp_path / "parts")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_every_pair_of_a_split_is_there_once(split, world, two_parts):
    users, items = array(two_parts, split)
    ids = [array(two_parts, f"{kind}_ids") for kind in ("user", "item")]
    found = sorted(zip(ids[0][users].tolist(), ids[1][items].tolist(), strict=True))
    assert found == sorted(map(tuple, world.split(split).T.tolist()))


def test_node_data_of_the_parts_are_those_of_their_nodes(world, two_parts):
    """Read back with DGL, part by part: features and degrees of every item, by its id."""
    ids = torch.from_numpy(np.array(array(two_parts, "item_ids")))
    seen = []
    for part in range(2):
        _, data, _, book, *_ = dgl.distributed.load_partition(str(two_parts / "graph.json"), part)
        own = ids[book.partid2nids(part, "item")]
        seen += own.tolist()
        for name, table in world.features.items():
            assert torch.equal(data[f"item/feature_{name}"], table[own])
        degree = torch.bincount(world.train[1], minlength=world.n_items)
        assert torch.equal(data["item/degree"], degree[own])
    assert sorted(seen) == list(range(world.n_items))


def test_missing_rows_neighbours_and_original_ids_travel_along(world, neighbors, two_parts):
    ids = tensor(two_parts, "item_ids")
    assert torch.equal(tensor(two_parts, "missing_text"), world.missing["text"][ids])
    lists = tensor(two_parts, "neighbors")
    by_id = torch.where(lists < 0, -1, ids[lists.clamp_min(0)])
    assert torch.equal(by_id, neighbors[ids])
    raw = pd.read_parquet(two_parts / "items.parquet")
    assert raw["raw_id"].tolist() == [f"i{n}" for n in ids.tolist()]


def test_counts_of_the_parts_add_up(world, two_parts):
    parts = open_parts(two_parts)
    assert len(parts) == 2
    assert all(parts.users)
    assert all(parts.items)
    assert sum(parts.pairs) == world.train.shape[1]
    assert 0 < parts.cut < sum(parts.pairs)
    assert sum(parts.users) == world.n_users
    assert sum(parts.items) == world.n_items
    text = "\n".join(parts_lines(two_parts))
    assert "2 part(s) by random" in text
    assert "similar_image" in text


def test_a_half_written_folder_is_refused_by_name(copy):
    (copy / MANIFEST).unlink()
    with pytest.raises(RunError, match=f"{copy} is no whole partition"):
        open_parts(copy)


@pytest.mark.parametrize("name", ["part1/graph.dgl", "neighbors.npy"])
def test_a_file_that_is_short_or_gone_is_refused_by_name(name, copy):
    with (copy / name).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(RunError, match=f"{name} has 100 bytes"):
        open_parts(copy)
    (copy / name).unlink()
    with pytest.raises(RunError, match=f"{name} is missing"):
        open_parts(copy)


def test_maps_that_do_not_fit_are_refused(copy):
    """Of the right size, but not the inverse of each other."""
    np.save(copy / "item_ids.npy", np.zeros_like(array(copy, "item_ids")))
    with pytest.raises(RunError, match=r"item_ids\.npy does not fit"):
        parts_lines(copy)


def test_what_breaks_off_leaves_nothing(world, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunError, match="No space left"):
        partition(world, tmp_path / "parts", PartitionOptions(2))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_the_folder_is_written(world, tmp_path):
    """Of this folder alone: another one's may be alive."""
    left, other = tmp_path / ".parts.1.tmp", tmp_path / ".parts2.1.tmp"
    for folder in (left, other):
        (folder / "part0").mkdir(parents=True)
        (folder / "part0" / "graph.dgl").write_bytes(b"half")
    partition(world, tmp_path / "parts", PartitionOptions(2))
    assert sorted(tmp_path.iterdir()) == [other, tmp_path / "parts"]
    assert len(open_parts(tmp_path / "parts")) == 2


def test_a_folder_that_another_process_writes_is_refused_and_left_alone(
    world, tmp_path, monkeypatch
):
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    living = tmp_path / ".parts.1.tmp"
    living.mkdir()
    with locks.only_writer(tmp_path / "parts", appears=True):
        with pytest.raises(RunError, match="parts is being written by another process"):
            partition(world, tmp_path / "parts", PartitionOptions(2))
        assert living.is_dir()


def test_too_many_parts_and_taken_folders_are_refused(world, two_parts, tmp_path):
    with pytest.raises(ConfigError, match="41 parts of 60 users and 40 items"):
        partition(world, tmp_path / "parts", PartitionOptions(41))
    with pytest.raises(RunError, match="exists already"):
        partition(world, two_parts, PartitionOptions(2))


def test_the_commands(tmp_path, capsys):
    """`partition` says what it will take before it starts, and `describe` knows its folder."""
    folder = tmp_path / "parts"
    small = ["--set", "data.planted_users=60", "--set", "data.planted_items=40", "--quiet"]
    assert main(["partition", "planted", "--parts", "2", "--out", str(folder), *small]) == 0
    made = capsys.readouterr().out
    assert made.startswith("estimate: ")
    assert "2 part(s) by metis" in made
    assert main(["describe", str(folder)]) == 0
    assert capsys.readouterr().out == made[made.index("planted:") :]
    (folder / MANIFEST).unlink()
    assert main(["describe", str(folder)]) == 2
    assert "is no whole partition" in capsys.readouterr().err
