"""Neighbours in files that other programs read: own ids, scores, tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError, DataError
from crossalign.graphs import NeighborOptions, Neighbors, load_neighbors
from crossalign.graphs.neighbor_search import write_neighbors
from crossalign.graphs.neighbor_table import neighbor_table

ITEMS = np.array(["hat", "shoe", "sock", "tie"], dtype=object)
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (3, 3)]


@pytest.fixture
def shop() -> Dataset:
    train = torch.tensor(PAIRS).T.contiguous()
    held = torch.tensor([[0], [3]])
    return Dataset("shop", 4, 4, train, held, held, item_ids=ITEMS)


def test_an_archive_carries_own_ids_and_what_neighbours_are_ranked_by(
    shop: Dataset, tmp_path: Path
) -> None:
    """Degrees are 2, 3, 2, 1; hat and shoe share 2 users, so their cosine is 2 / sqrt(6)."""
    write_neighbors(tmp_path / "n.npz", NeighborOptions(k=2, score="cosine"), shop)
    with np.load(tmp_path / "n.npz", allow_pickle=False) as file:
        assert file["item_ids"].tolist() == ITEMS.tolist()
        assert file["scores"].dtype == np.float32
        assert file["ids"][0, 0] == 1
        assert file["counts"][0, 0] == 2
        assert file["scores"][0, 0] == pytest.approx(2 / np.sqrt(6))
        assert file["scores"][3].tolist() == [0, 0]
        assert json.loads(str(file["metadata"]))["score"] == "cosine"
    assert load_neighbors(tmp_path / "n.npz", n_items=4).ids[0, 0] == 1


def test_jaccard_and_count_are_scored_by_their_formula(shop: Dataset, tmp_path: Path) -> None:
    by_jaccard = write_neighbors(tmp_path / "j", NeighborOptions(k=2, score="jaccard"), shop)
    by_count = write_neighbors(tmp_path / "c", NeighborOptions(k=2), shop)
    assert by_jaccard.scores is not None
    assert by_jaccard.scores[0, 0].item() == pytest.approx(2 / 3)
    assert by_count.scores is not None
    assert torch.equal(by_count.scores, by_count.counts.float())
    assert np.load(tmp_path / "j" / "item_ids.npy").tolist() == ITEMS.tolist()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_has_a_row_for_each_neighbour(shop: Dataset, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"n{suffix}"
    write_neighbors(file, NeighborOptions(k=2), shop)
    table = pd.read_csv(file) if suffix == ".csv" else pd.read_parquet(file)
    assert list(table.columns) == ["item", "rank", "neighbour", "score"]
    rows = list(table.itertuples(index=False, name=None))
    assert rows[:2] == [("hat", 1, "shoe", 2.0), ("hat", 2, "sock", 1.0)]
    assert "tie" not in set(table["item"])
    with pytest.raises(DataError, match=r"write an \.npz"):
        load_neighbors(file)


def test_blocks_of_items_make_the_same_table() -> None:
    lists = Neighbors(torch.tensor([[1, 2], [0, -1], [-1, -1]]), torch.tensor([[3, 1]] * 3))
    whole = pd.concat(neighbor_table(lists.arrays()))
    parts = pd.concat(neighbor_table(lists.arrays(), block=1))
    assert parts.to_numpy().tolist() == whole.to_numpy().tolist()
    assert whole.to_numpy().tolist() == [[0, 1, 1, 3], [0, 2, 2, 1], [1, 1, 0, 3]]


def test_another_ending_is_refused_before_the_search(shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.npz, \.csv or \.parquet"):
        write_neighbors(tmp_path / "n.tsv", NeighborOptions(k=2), shop)
    assert not list(tmp_path.iterdir())
