"""Titles belong to the items that the data files mean by the same ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossalign.datasets import Dataset, planted
from crossalign.datasets.titles import find_titles, read_titles
from crossalign.errors import DataError


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return planted(n_users=20, n_items=30)


def write(folder: Path, text: str, name: str = "titles.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_titles_follow_the_original_ids(dataset: Dataset, tmp_path: Path) -> None:
    """Ids that were filtered out of the data are left out, spaces are tidied."""
    own = replace(dataset, item_ids=np.array([f"b{i}" for i in range(30)]))
    file = write(tmp_path, 'asin,title\nb2,"two  \n words"\ngone,x\nb0,zero\n')
    assert read_titles(file, own) == {2: "two words", 0: "zero"}


def test_data_numbered_from_zero_take_numbers(dataset: Dataset, tmp_path: Path) -> None:
    file = write(tmp_path, "movie id\tmovie title\n0\tfirst\n29\tlast\n", "titles.tsv")
    assert read_titles(file, dataset) == {0: "first", 29: "last"}


def test_a_file_that_counts_from_one_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    """Otherwise every title would stand beside the next item."""
    rows = "".join(f"{i},{i - 1},title {i}\n" for i in range(1, 31))
    file = write(tmp_path, "movie id,row,title\n" + rows)
    with pytest.raises(DataError, match="movie id is 30, but planted numbers its items 0 to 29"):
        read_titles(file, dataset)
    assert read_titles(file, dataset, ("row", "title"))[0] == "title 1"


def test_unknown_columns_are_named(dataset: Dataset, tmp_path: Path) -> None:
    file = write(tmp_path, "item,label\n1,x\n")
    with pytest.raises(DataError, match="no column called title; set --title-columns"):
        read_titles(file, dataset)


def test_titles_are_found_beside_the_data_only(tmp_path: Path, monkeypatch) -> None:
    file = write(tmp_path, "item,title\n1,x\n")
    write(tmp_path, "user,item\n1,1\n", "interactions.csv")
    assert find_titles(tmp_path) == file
    assert find_titles(tmp_path / "interactions.csv") == file
    monkeypatch.chdir(tmp_path)
    assert find_titles("planted") is None
