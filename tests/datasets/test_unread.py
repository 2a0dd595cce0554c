"""What a new user should know of a folder before training: rules, cold items, unread files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossalign.cli import main
from crossalign.datasets import DataOptions, describe, load_dataset
from crossalign.datasets.times import date_form
from crossalign.datasets.unread import unread_files
from crossalign.errors import ConfigError, DataError


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Eight users with one row a day for six days; item 9 is bought in the last day only."""
    rows = [
        f"u{user},{(user + day) % 8},2024-01-{day + 1:02d}" for user in range(8) for day in range(5)
    ]
    rows += [f"u{user},9,2024-01-06" for user in range(8)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user,item,time", *rows]) + "\n")
    np.savez(tmp_path / "look_feat.npz", ids=np.arange(10), features=np.eye(10, dtype=np.float32))
    (tmp_path / "look_feat.json").write_text('{"encoder": "eyes"}')
    (tmp_path / "image_features.npy").write_bytes(b"misspelt")
    (tmp_path / "titles.csv").write_text("item,title\n9,Hat\n")
    (tmp_path / ".hidden").write_text("")
    return tmp_path


def test_a_split_by_one_time_never_trains_on_what_is_later(shop: Path) -> None:
    data = load_dataset(shop, options=DataOptions(split="global_time"))
    n = {split: data.split(split).shape[1] for split in ("train", "valid", "test")}
    assert n == {"train": 32, "valid": 8, "test": 8}  # rows of one day stay together
    assert data.item_ids is not None
    assert set(data.item_ids[data.test[1]].tolist()) == {9}
    assert "one time for all users" in data.split_rule
    assert not any("draw" in note for note in data.notes)


def test_describe_names_the_rule_cold_items_with_content_and_unread_files(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", str(shop), "--set", "data.split=global_time"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "split: one time for all users, the latest rows are held out" in out
    assert "not read, beside the data: image_features.npy" in out
    assert "titles.csv" not in out
    assert "look_feat" not in out
    assert "1 item(s) have no training row, 1 of them with content" in out


def test_a_modality_that_is_left_out_is_an_unread_file(shop: Path) -> None:
    options = DataOptions(modalities=())
    data = load_dataset(shop, options=options)
    assert unread_files(shop, options, data) == (
        "image_features.npy",
        "look_feat.json",
        "look_feat.npz",
    )
    assert unread_files("planted", DataOptions(), data) == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (DataOptions(), "random rows of each user are held out, MMRec's rule (data.split=auto"),
        (DataOptions(split="chronological"), "the latest rows of each user are held out"),
        (DataOptions(split="part", hold_out=False), "nothing is held out (data.hold_out=false)"),
        (DataOptions(split="part"), "as the data bring it (data.split=part)"),
    ],
)
def test_the_rule_in_use_is_told(tmp_path: Path, options: DataOptions, words: str) -> None:
    lines = [
        f"{u},{i},{10 * u + i},{'train' if i < 3 else ('valid', 'test')[i - 3]}"
        for u in range(4)
        for i in range(5)
    ]
    (tmp_path / "interactions.csv").write_text("\n".join(["user,item,time,part", *lines]) + "\n")
    assert words in describe(load_dataset(tmp_path, options=options)).split_rule


def test_lists_without_times_are_not_split_by_one_time(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("u\t1 2 3 4\nv\t4 3 2 1\n")
    with pytest.raises(ConfigError, match="choose chronological"):
        load_dataset(tmp_path, options=DataOptions(split="global_time"))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("31/01/2024", "a date as day/month/year"),
        ("01/31/2024 10:00", "a date as month/day/year"),
        ("3.4.24", "a date as day.month.year or month.day.year"),
        ("Jan 31, 2024", "a date with the name of a month"),
        ("yesterday", "no date that can be read"),
    ],
)
def test_other_forms_of_dates_are_refused_with_the_form_they_have(
    tmp_path: Path, text: str, form: str
) -> None:
    assert date_form(text) == form
    (tmp_path / "interactions.csv").write_text(f'user,item,time\nu,1,2024-01-30\nv,2,"{text}"\n')
    with pytest.raises(DataError, match=f"{form}; write it as 2024-01-31"):
        load_dataset(tmp_path, options=DataOptions(split="chronological"))
