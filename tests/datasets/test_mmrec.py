"""The MMRec layout is read as published, and broken files are refused with their line."""

import re

import numpy as np
import pytest
import torch

from crossalign.datasets import DataError, DataOptions, load_dataset

HEADER = "userID\titemID\trating\ttimestamp\tx_label"


def test_reads_splits_features_and_counts(write_inter, features):
    folder = write_inter()
    np.save(folder / "smell_feat.npy", features)
    np.save(folder / "audio_feat.npy", features[:, :2])
    data = load_dataset(folder)
    assert (data.name, data.n_users, data.n_items) == ("toy", 3, 5)
    assert data.train.tolist() == [[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 0, 3]]  # sorted
    assert data.valid.tolist() == [[0, 1], [2, 3]]
    assert data.test.tolist() == [[0, 1, 2], [3, 0, 4]]
    assert data.modalities == ("audio", "smell")
    assert torch.equal(data.features["smell"], torch.from_numpy(features))
    assert data.missing == {}


def test_first_two_columns_may_have_any_names(write_inter):
    data = load_dataset(write_inter(header="uid\tasin\tr\tt\tx_label"))
    assert data.train.shape == (2, 6)


def test_counts_run_over_the_whole_file_and_cold_rows_are_counted(write_inter):
    """User 4 and item 9 stand in held-out rows only; ids 3 and 5..8 nowhere."""
    data = load_dataset(write_inter([(0, 0, 0), (0, 1, 1), (0, 2, 2), (4, 9, 2), (4, 1, 1)]))
    assert (data.n_users, data.n_items) == (5, 10)
    assert data.dropped == {"valid": 1, "test": 1}
    assert data.test.tolist() == [[0], [2]]


def test_the_file_itself_may_be_given(write_inter):
    assert load_dataset(write_inter() / "toy.inter").name == "toy"


def test_resplits_by_rule_and_by_time(write_inter):
    """Times fall with the line number, so the first lines of each user are the latest."""
    folder = write_inter()
    chronological = load_dataset(folder, options=DataOptions(split="chronological"))
    assert chronological.test.tolist() == [[0, 1, 2], [0, 1, 3]]
    assert chronological.valid.tolist() == [[0, 1, 2], [1, 2, 0]]
    random = load_dataset(folder, options=DataOptions(split="random"))
    assert (random.valid.shape, random.test.shape) == ((2, 3), (2, 3))


BAD_FILES = {
    "empty": ("", "toy.inter: is no inter table"),
    "header only": (HEADER, "toy.inter: has no rows"),
    "no label": ("userID\titemID\n0\t0", "has no column x_label; add it, or choose split random"),
    "spaces": ("userID itemID x_label\n0 0 0", "has one column; separate user and item by a tab"),
    "ragged": ("userID\titemID\tx_label\n0\t0\t0\n0\t0\t0\t7\t7", "line 3: rows have more fields"),
    "text id": ("u\ti\tx_label\n0\t0\t0\n0\tB00X\t1", "line 3: i is 'B00X', not a whole number"),
    "empty id": ("u\ti\tx_label\n0\t0\t0\n\t1\t1", "line 3: u is '', not a whole number"),
    "fraction": ("u\ti\tx_label\n0.5\t0\t0", "line 2: u is '0.5', not a whole number"),
    "negative": ("u\ti\tx_label\n0\t0\t0\n0\t-1\t0", "line 3: i is -1; number ids from 0"),
    "label 3": ("u\ti\tx_label\n0\t0\t0\n0\t1\t3", "line 3: x_label is 3; use 0 train"),
    "repeat": ("u\ti\tx_label\n0\t0\t0\n0\t1\t1\n0\t0\t2", "line 4: user 0 and item 0 stand in"),
    "no test": ("u\ti\tx_label\n0\t0\t0\n0\t1\t1", "the test split is empty"),
    "no time": ("u\ti\tx_label\n0\t0\t0", "no column called timestamp; set data.time_column"),
    "bad time": ("u\ti\ttime\n0\t0\t3\n0\t1\tnoon", "line 3: time is 'noon', not a number"),
}


@pytest.mark.parametrize(("text", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_broken_file_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "toy.inter").write_text(text)
    split = "chronological" if "time" in message else "auto"
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_dataset(tmp_path, options=DataOptions(split=split))
    assert "\n" not in str(caught.value)


def test_several_files_are_refused_unless_one_is_named_after_the_folder(write_inter):
    folder = write_inter(name="a.inter")
    write_inter(name="b.inter")
    with pytest.raises(DataError, match=r"several \.inter files \(a\.inter, b\.inter\)"):
        load_dataset(folder)
    write_inter()
    assert load_dataset(folder).name == "toy"
