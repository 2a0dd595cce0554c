"""New items are drawn by the seed alone, and no row of theirs is trained on."""

from __future__ import annotations

import pytest
import torch

from crossalign.datasets import DataOptions, load_dataset
from crossalign.errors import DataError


def options(**values) -> DataOptions:
    small = {"planted_users": 150, "planted_items": 100} if "format" not in values else {}
    return DataOptions(split="new_items", **small, **values)


def rows(data) -> set[tuple[int, int]]:
    return {
        tuple(pair) for name in ("train", "valid", "test") for pair in data.split(name).T.tolist()
    }


def test_withheld_items_are_in_one_split_alone() -> None:
    data = load_dataset("planted", options=options())
    of = [set(data.split(name)[1].tolist()) for name in ("train", "valid", "test")]
    assert of[0].isdisjoint(of[1] | of[2])
    assert of[1].isdisjoint(of[2])
    assert len(of[1]) == len(of[2]) == 5
    assert "all rows of 10 drawn items" in data.split_rule
    whole = load_dataset("planted", options=DataOptions(planted_users=150, planted_items=100))
    seen = {tuple(pair) for pair in data.also_seen.T.tolist()}
    assert rows(data) | seen >= rows(whole), "no row is lost"
    assert torch.equal(data.features["image"], whole.features["image"]), "content stays"


def test_the_seed_alone_decides() -> None:
    first, again = (load_dataset("planted", options=options()) for _ in range(2))
    assert torch.equal(first.test, again.test)
    other = load_dataset("planted", options=options(split_seed=1))
    assert set(other.test[1].tolist()) != set(first.test[1].tolist())


def test_a_table_is_read_whole_whatever_splits_it_brings(tmp_path) -> None:
    lines = ["user,item,split"]
    lines += [
        f"u{u},i{i:02d},{'test' if i % 3 else 'train'}"
        for u in range(30)
        for i in range(40)
        if (u * i) % 4
    ]
    (tmp_path / "interactions.csv").write_text("\n".join(lines))
    data = load_dataset(tmp_path, options=options(format="table"))
    assert len(rows(data)) == len(lines) - 1
    assert set(data.train[1].tolist()).isdisjoint(data.test[1].tolist())


def test_nothing_is_withheld_from_a_refit() -> None:
    data = load_dataset("planted", options=options(hold_out=False))
    assert not data.holds_out


def test_too_few_items_are_refused(tmp_path) -> None:
    rows = "\n".join(f"u{u},i{u % 7}" for u in range(9))
    (tmp_path / "interactions.csv").write_text(f"user,item\n{rows}")
    with pytest.raises(DataError, match="7 items are too few to withhold a tenth"):
        load_dataset(tmp_path, options=options(format="table"))
