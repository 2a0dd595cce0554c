"""The MicroLens layout: one line a user, items in order."""

import pytest

from crossalign.datasets import DataError, DataOptions, load_dataset


def test_order_in_the_line_is_time(tmp_path):
    (tmp_path / "pairs.tsv").write_text("5\t30 10 20\n7\t10 20 30\n")
    data = load_dataset(tmp_path, options=DataOptions(split="chronological"))
    assert data.user_ids.tolist() == [5, 7]
    assert data.item_ids.tolist() == [10, 20, 30]
    assert data.train.tolist() == [[0, 1], [2, 0]]
    assert data.valid.tolist() == [[0, 1], [0, 1]]
    assert data.test.tolist() == [[0, 1], [1, 2]]


BAD = {
    "empty file": ("", "is empty"),
    "no tab": ("5\t1 2\n7 1 2\n", "line 2: is no user, tab"),
    "no items": ("5\t1 2\n7\t\n", "line 2: is no user, tab"),
    "no user": ("\t1 2\n", "line 1: is no user, tab"),
    "tabs between items": ("5\t1\t2\n", "line 1: is no user, tab"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_line_is_named(tmp_path, text, message):
    (tmp_path / "pairs.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "pairs.tsv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="line 1: cannot be read as utf-8 text"):
        load_dataset(tmp_path)
