"""What was encoded once is not encoded again: equal inputs, after a kill, next week."""

from __future__ import annotations

import numpy as np
import pytest

from crossalign.extraction import ExtractOptions, from_columns

from .conftest import Lengths, rows, run, table


def test_equal_inputs_are_encoded_once(tmp_path):
    items = table(tmp_path, item=range(6), title=["same", "same  ", "other", "same", "", "other"])
    encoder = Lengths()
    done = run(from_columns(items, ["title"], "text", "text"), tmp_path, encoder)
    assert sorted(encoder.seen) == ["other", "same"]
    assert (done.record["inputs"], done.record["distinct_inputs"]) == (5, 2)
    assert done.record["missing"] == [{"item": 4, "why": "has none"}]


def test_a_killed_run_goes_on_where_it_stopped_to_the_same_features(tmp_path):
    texts = [f"text {'x' * n}" for n in range(20)]
    items = table(tmp_path / "a", item=range(20), title=texts)
    inputs = from_columns(items, ["title"], "text", "text")
    whole = run(inputs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(inputs, tmp_path / "a", Lengths(dies_at=8))
    assert not (tmp_path / "a" / "text_feat.npz").exists()
    (log,) = (tmp_path / "a").glob(".text_feat.*.vectors")
    with log.open("ab") as file:
        file.write(b"half a record")  # what a kill in the middle of a write leaves
    second = Lengths()
    done = run(inputs, tmp_path / "a", second)
    assert len(second.seen) == 12
    assert done.record["features_sha256"] == whole.record["features_sha256"]
    assert done.record["encoded_before"] == 8


def of_titles(folder, titles):
    items = table(folder, item=range(len(titles)), title=titles)
    return from_columns(items, ["title"], "text", "text")


def test_next_week_encodes_what_is_new_and_leaves_the_other_rows_as_they_are(tmp_path):
    first = run(of_titles(tmp_path, ["one", "two words"]), tmp_path)
    before, encoder = rows(first.file), Lengths()
    done = run(of_titles(tmp_path, ["one", "changed", "new", "two words"]), tmp_path, encoder)
    assert sorted(encoder.seen) == ["changed", "new"]
    assert (done.record["encoded_before"], done.record["distinct_inputs"]) == (2, 4)
    after = rows(done.file)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[3], before[1])


def test_a_vector_that_rotted_on_the_disk_is_made_again(tmp_path):
    run(of_titles(tmp_path, ["one"]), tmp_path)
    (log,) = tmp_path.glob(".text_feat.*.vectors")
    content = bytearray(log.read_bytes())
    content[8 + 32 + 1] ^= 1  # behind the width and the digest
    log.write_bytes(content)
    whole, encoder = run(of_titles(tmp_path / "b", ["one", "two"]), tmp_path / "b"), Lengths()
    done = run(of_titles(tmp_path, ["one", "two"]), tmp_path, encoder)
    assert sorted(encoder.seen) == ["one", "two"]
    assert done.record["features_sha256"] == whole.record["features_sha256"]


def test_vectors_of_items_long_gone_are_not_kept_for_ever(tmp_path):
    run(of_titles(tmp_path, [f"title {'x' * n}" for n in range(9)]), tmp_path)
    (log,) = tmp_path.glob(".text_feat.*.vectors")
    large = log.stat().st_size
    run(of_titles(tmp_path, ["title ", "title x"]), tmp_path)
    assert 3 * log.stat().st_size < large
    encoder = Lengths()
    run(of_titles(tmp_path, ["title ", "title x", "new"]), tmp_path, encoder)
    assert encoder.seen == ["new"]


def test_another_encoder_does_not_take_these_vectors(tmp_path):
    run(of_titles(tmp_path, ["one"]), tmp_path)
    encoder = Lengths()
    run(of_titles(tmp_path, ["one"]), tmp_path, encoder, ExtractOptions(half=True))
    assert encoder.seen == ["one"]
    assert len(list(tmp_path.glob(".text_feat.*.vectors"))) == 1


def test_features_that_are_there_are_not_made_again_unless_something_changed(tmp_path):
    items = table(tmp_path, item=["a", "b"], title=["one", "two words"])
    inputs = from_columns(items, ["title"], "text", "text")
    first = run(inputs, tmp_path)
    again, encoder = Lengths(), Lengths()
    second = run(inputs, tmp_path, again)
    assert (second.made, again.seen, second.record) == (False, [], first.record)
    changed = table(tmp_path, item=["a", "b"], title=["one", "two other words"])
    third = run(from_columns(changed, ["title"], "text", "text"), tmp_path, encoder)
    assert third.made
    assert third.record["input_sha256"] != first.record["input_sha256"]
    (tmp_path / "text_feat.npz").write_bytes(b"damaged")
    assert run(from_columns(changed, ["title"], "text", "text"), tmp_path).made
