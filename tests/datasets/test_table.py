"""Plain tables with any ids, split and filtered; bad ones refused with their line."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from crossalign.datasets import DataError, DataOptions, load_dataset

USERS = ["zoe", "ann", "ann", "zoe", "zoe", "ann", "bob"]
ITEMS = ["i9", "i1", "i9", "i2", "i1", "i2", "i9"]
TIMES = [3, 1, 2, 1, 2, 3, 1]


@pytest.fixture
def frame():
    return pd.DataFrame({"user_id": USERS, "itemID": ITEMS, "Timestamp": TIMES})


def write(frame, folder, suffix="csv"):
    path = folder / f"interactions.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if suffix == "tsv" else ",", index=False)
    return path


def original_pairs(data, split):
    users, items = data.split(split).numpy()
    return set(zip(data.user_ids[users], data.item_ids[items], strict=True))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_chronological_split_of_text_ids(frame, tmp_path, suffix):
    write(frame, tmp_path, suffix)
    data = load_dataset(tmp_path, options=DataOptions(split="chronological"))
    assert data.user_ids.tolist() == ["ann", "bob", "zoe"]
    assert data.item_ids.tolist() == ["i1", "i2", "i9"]
    assert original_pairs(data, "train") == {("ann", "i1"), ("zoe", "i2"), ("bob", "i9")}
    assert original_pairs(data, "valid") == {("ann", "i9"), ("zoe", "i1")}
    assert original_pairs(data, "test") == {("ann", "i2"), ("zoe", "i9")}


def test_row_order_of_the_file_does_not_change_the_numbering(frame, tmp_path):
    write(frame, tmp_path)
    options = DataOptions(split="chronological")
    first = load_dataset(tmp_path, options=options)
    write(frame.sample(frac=1, random_state=1), tmp_path)
    second = load_dataset(tmp_path, options=options)
    for split in ("train", "valid", "test"):
        assert original_pairs(first, split) == original_pairs(second, split)
    assert first.item_ids.tolist() == second.item_ids.tolist()


def test_random_split_depends_on_the_seed_only(tmp_path):
    grid = pd.DataFrame({"user": np.repeat(np.arange(9), 8), "item": np.tile(np.arange(8), 9)})
    write(grid, tmp_path)
    one, same, other = (
        load_dataset(tmp_path, options=DataOptions(split="random", split_seed=seed)).test.tolist()
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize("words", [("train", "valid", "test"), (0, 1, 2), ("Train", "val", "TEST")])
@pytest.mark.parametrize(("column", "split"), [("split", "auto"), ("fold", "fold")])
def test_own_split_column(frame, tmp_path, words, column, split):
    labels = np.array([2, 0, 1, 0, 1, 2, 1])
    write(frame.assign(**{column: [words[label] for label in labels]}), tmp_path)
    data = load_dataset(tmp_path, options=DataOptions(split=split))
    assert original_pairs(data, "train") == {("ann", "i1"), ("zoe", "i2")}
    assert original_pairs(data, "valid") == {("ann", "i9"), ("zoe", "i1")}
    assert data.dropped == {"valid": 1, "test": 0}  # bob was never trained on


def test_whole_number_ids_sort_as_numbers_and_other_ids_as_text(tmp_path):
    rows = [(u, i) for u in (1, 2, 10) for i in ("10", "9", "007")]
    write(pd.DataFrame(rows, columns=["user", "item"]), tmp_path)
    data = load_dataset(tmp_path)
    assert data.user_ids.tolist() == [1, 2, 10]
    assert data.item_ids.tolist() == ["007", "10", "9"]


def test_k_core_filter_keeps_the_core_only(frame, tmp_path):
    write(frame, tmp_path)
    data = load_dataset(tmp_path, options=DataOptions(min_user_interactions=2))
    assert data.user_ids.tolist() == ["ann", "zoe"]
    with pytest.raises(DataError, match="no interaction is left after k-core filtering"):
        load_dataset(tmp_path, options=DataOptions(min_item_interactions=4))


def test_repeats_count_once_and_are_noted(frame, tmp_path):
    write(pd.concat([frame, frame.iloc[:2]]), tmp_path)
    data = load_dataset(tmp_path)
    assert data.notes == ("2 repeated interaction(s) left out",)
    assert sum(data.split(s).shape[1] for s in ("train", "valid", "test")) == len(frame)


def test_columns_can_be_named_and_features_are_found_by_id(frame, tmp_path):
    path = tmp_path / "my log.csv"
    frame.rename(columns={"user_id": "who", "itemID": "what"}).to_csv(path, index=False)
    np.savez(tmp_path / "smell_feat.npz", ids=["i9", "i1"], features=[[9.0], [1.0]])
    data = load_dataset(path, options=DataOptions(user_column="who", item_column="what"))
    assert data.name == "my log"
    assert data.features["smell"].tolist() == [[1.0], [0.0], [9.0]]
    assert data.missing["smell"].tolist() == [False, True, False]


BAD_TABLES = {
    "empty": ("", {}, "is no csv table"),
    "header only": ("user,item\n", {}, "has no rows"),
    "no user": ("who,item\n1,2\n", {}, "no column called user; set data.user_column to one of its"),
    "no item": (
        "user,what\n1,2\n",
        {},
        "no column called item; set data.item_column to one of its",
    ),
    "spaces": ("user item\n1 2\n", {}, "no column called user"),
    "unknown column": (
        "user,item\n1,2\n",
        {"user_column": "who"},
        "no column 'who'; set data.user",
    ),
    "unknown split": ("user,item\n1,2\n", {"split": "fold"}, "no column 'fold'; set data.spl"),
    "empty user": ("user,item\n1,2\n,3\n", {}, "line 3: user is empty"),
    "blank item": ("user,item\n1,2\n1, \n", {}, "line 3: item is empty"),
    "split word": ("user,item,split\n1,2,train\n1,3,dog\n", {}, "line 3: split is 'dog'; use"),
    "no time": ("user,item\n1,2\n", {"split": "chronological"}, "no column called timestamp"),
    "time text": (
        "user,item,time\n1,2,3\n1,3,noon\n",
        {"split": "chronological"},
        "line 3: time is 'noon', not a number",
    ),
    "one split only": ("user,item,split\n1,2,train\n1,3,test\n", {}, "the valid split is empty"),
}


@pytest.mark.parametrize(("text", "options", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_table_is_one_clear_line(tmp_path, text, options, message):
    (tmp_path / "interactions.csv").write_text(text)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_dataset(tmp_path, options=DataOptions(**options))
    assert "interactions.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_table_are_refused(tmp_path):
    for name in ("a.csv", "a.parquet"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x81 user")
        with pytest.raises(DataError, match=name):
            load_dataset(tmp_path / name)


def test_several_tables_are_refused(frame, tmp_path):
    write(frame, tmp_path, "csv")
    write(frame, tmp_path, "tsv")
    with pytest.raises(DataError, match=r"several tables \(interactions.csv, interactions.tsv\)"):
        load_dataset(tmp_path)


def test_an_item_may_be_called_na(tmp_path):
    rows = [f"u{n % 3},{item}" for n, item in enumerate(["NA", "null", "None", "nan", "x"] * 6)]
    (tmp_path / "interactions.csv").write_text("user,item\n" + "\n".join(dict.fromkeys(rows)))
    data = load_dataset(tmp_path)
    assert {"NA", "null", "None", "nan"} <= set(data.item_ids.tolist())


def test_rows_with_more_fields_than_the_header_are_refused(tmp_path):
    """Else pandas takes the first column for an index, and the rest moves one to the left."""
    (tmp_path / "interactions.csv").write_text("user,item,time\nu0,i1,3.5,\nu1,i0,2.5,\n")
    with pytest.raises(DataError, match="rows have more fields than the header"):
        load_dataset(tmp_path)


def test_times_may_be_iso_dates(tmp_path):
    """The same split as by their seconds."""
    days = [f"2024-01-{day:02d}" for day in range(1, 13)]
    rows = [(f"u{n % 3}", f"i{n % 5}{n // 6}", f"{day} 00:03:19") for n, day in enumerate(days)]
    splits = []
    for name, time in (("dates", lambda n, text: text), ("numbers", lambda n, text: 86400 * n)):
        folder = tmp_path / name
        folder.mkdir()
        lines = [f"{user},{item},{time(n, text)}" for n, (user, item, text) in enumerate(rows)]
        (folder / "interactions.csv").write_text("user,item,time\n" + "\n".join(lines))
        data = load_dataset(folder, options=DataOptions(split="chronological"))
        splits.append(torch.cat([data.train, data.valid, data.test], dim=1))
    assert torch.equal(*splits)
