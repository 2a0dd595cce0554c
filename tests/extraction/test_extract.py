"""Features on disk: the right rows, once each, whatever is missing, damaged or killed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from crossalign.datasets import load_dataset
from crossalign.errors import ConfigError, DataError, RunError
from crossalign.extraction import (
    ExtractOptions,
    extract,
    from_columns,
    from_ducho,
    from_folder,
    record_encoder,
)

from .conftest import Lengths, rows, run, table, unit


@pytest.mark.parametrize("file_format", ["npz", "parquet"])
def test_features_land_on_the_items_of_a_data_set(tmp_path, file_format):
    """Ids stay as the table wrote them, and an item without content is marked missing."""
    items = table(tmp_path, item=["007", "7", "b c"], title=["red shoes", "hat", ""])
    run(from_columns(items, ["title"], "text", "text"), tmp_path, file_format=file_format)
    pd.DataFrame(
        {
            "user": ["u", "u", "u", "v", "v", "v"],
            "item": ["007", "7", "b c"] * 2,
            "split": ["train", "valid", "test", "train", "train", "test"],
        }
    ).to_csv(tmp_path / "interactions.csv", index=False)
    data = load_dataset(tmp_path)
    assert data.item_ids.tolist() == ["007", "7", "b c"]
    np.testing.assert_allclose(data.features["text"][0], unit(2, 9), rtol=1e-6)
    np.testing.assert_allclose(data.features["text"][1], unit(1, 3), rtol=1e-6)
    assert data.missing["text"].tolist() == [False, False, True]


def test_several_columns_are_joined_and_several_rows_are_averaged(tmp_path):
    items = table(
        tmp_path,
        id=["a", "b", "a", "a"],
        title=["x", " two  words ", "y z", "x"],
        about=["", "more", "", ""],
    )
    inputs = from_columns(items, ["title", "about"], "text", "words")
    assert inputs.contents == (("x", "y z"), ("two words more",))
    found = rows(run(inputs, tmp_path).file)
    np.testing.assert_allclose(found["a"], (unit(1, 1) + unit(2, 3)) / 2, rtol=1e-6)
    np.testing.assert_allclose(found["b"], unit(3, 14), rtol=1e-6)


def test_features_of_somebody_else_are_not_overwritten(tmp_path):
    items = table(tmp_path, item=["a"], title=["one"])
    np.save(tmp_path / "text_feat.npy", np.ones((1, 2)))
    with pytest.raises(ConfigError, match=r"text_feat\.npy exists already: move it away"):
        run(from_columns(items, ["title"], "text", "text"), tmp_path)


@pytest.fixture
def photos(tmp_path):
    """Items a to g: sound, twice, truncated, empty, no picture, giant, transparent."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    red, blue = image.new("RGB", (8, 8), (200, 0, 0)), image.new("RGB", (8, 8), (0, 0, 200))
    red.save(folder / "a.PNG")
    red.save(folder / "b" / "front.png")
    blue.save(folder / "b" / "back.png")
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    image.fromarray(noise).save(folder / "c.jpg")
    whole = (folder / "c.jpg").read_bytes()
    (folder / "c.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "d.png").write_bytes(b"")
    (folder / "e.png").write_text("this is no picture")
    image.new("1", (3000, 3000)).save(folder / "f.png")  # 1 kB that would decode to 27 MB
    image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(folder / "g.png")
    return folder


def test_damaged_and_giant_pictures_count_as_missing_and_are_listed(tmp_path, photos):
    options = ExtractOptions(max_pixels=1_000_000)
    done = run(from_folder(photos, "image", "image"), tmp_path, options=options)
    found = rows(done.file)
    assert set(found) == {"a", "b", "g"}
    np.testing.assert_allclose(found["a"], [1, 0, 0])
    np.testing.assert_allclose(found["b"], [0.5, 0, 0.5])  # the mean of two unit vectors
    np.testing.assert_allclose(found["g"], unit(1, 1, 1), rtol=1e-6)  # white, not black
    why = {entry["item"]: entry["why"] for entry in done.record["missing"]}
    assert "truncated" in why["c"]
    assert why["d"] == "the file is empty"
    assert "no readable image" in why["e"]
    assert why["f"] == "3000 x 3000 pixels, more than the 1,000,000 of max_pixels"
    assert len(done.record["unreadable"]) == done.record["items_without"] == 4
    assert json.loads((tmp_path / "image_feat.json").read_text()) == done.record


def test_files_find_the_items_of_a_table(tmp_path, photos):
    """`x_2` is a further picture of x, unless an item has that very name."""
    for name in ("x.png", "x_2.png", "x-3.png", "y_1.png", "stranger.png"):
        (photos / name).write_bytes((photos / "a.PNG").read_bytes())
    known = np.array(["a", "x", "x_2", "y", "z"])
    inputs = from_folder(photos, "image", "image", known)
    names = [[path.name for path in content] for content in inputs.contents]
    assert names == [["a.PNG"], ["x.png", "x-3.png"], ["x_2.png"], ["y_1.png"], []]
    assert inputs.origin["files_of_no_item"] == 8


def test_a_column_of_paths_is_relative_to_its_table(tmp_path, photos):
    paths = ["photos/a.PNG", "photos/missing.png", ""]
    items = table(tmp_path, item=["1", "2", "3"], photo=paths)
    done = run(from_columns(items, ["photo"], "image", "image"), tmp_path)
    assert set(rows(done.file)) == {1}
    whys = [entry["why"] for entry in done.record["missing"]]
    assert whys == ["the file cannot be read (No such file or directory)", "has none"]


def test_one_input_that_an_encoder_cannot_take_does_not_end_the_run(tmp_path):
    titles = ["one", "poison", "two words", "three words here"]
    items = table(tmp_path, item=range(4), title=titles)
    done = run(from_columns(items, ["title"], "text", "text"), tmp_path)
    assert set(rows(done.file)) == {0, 2, 3}
    assert done.record["missing"] == [
        {"item": 1, "why": "encoding fails: ValueError, cannot digest this"}
    ]


def test_an_encoder_that_fails_on_everything_ends_the_run(tmp_path):
    class Broken(Lengths):
        def encode(self, kind, prepared, device):
            raise ValueError("no")

    items = table(tmp_path, item=range(100), title=[f"title {n}" for n in range(100)])
    with pytest.raises(RunError, match="fails on everything so far: encoding fails: ValueError"):
        run(from_columns(items, ["title"], "text", "text"), tmp_path, Broken())


def test_vectors_without_finite_values_are_no_features(tmp_path):
    class Infinite(Lengths):
        def encode(self, kind, prepared, device):
            good = super().encode(kind, prepared, device)
            good[[text == "overflow" for text in prepared]] = float("inf")
            return good

    items = table(tmp_path, item=["a", "b"], title=["overflow", "fine"])
    done = run(from_columns(items, ["title"], "text", "text"), tmp_path, Infinite())
    assert set(rows(done.file)) == {"b"}


def test_no_readable_content_at_all_is_refused(tmp_path):
    items = table(tmp_path, item=["a", "b"], title=["", ""])
    with pytest.raises(DataError, match="no item has text that can be read"):
        run(from_columns(items, ["title"], "text", "text"), tmp_path)


def test_sixteen_bits_are_near_thirty_two(tmp_path, minilm):
    from crossalign.extraction import make_encoder

    encoder = make_encoder("sentence-transformers", {"model": minilm}, "text")
    items = table(tmp_path, item=["a", "b"], title=["red leather shoes", "a cat with wool"])
    inputs = from_columns(items, ["title"], "text", "text")
    named = ("sentence-transformers", {"model": minilm})
    found = {}
    for half in (False, True):
        options, out = ExtractOptions(half=half), tmp_path / str(half)
        done = extract(inputs, encoder, out, options, named=named, progress=False)
        found[half] = rows(done.file)
        assert done.record["precision"] == ("bfloat16" if half else "float32")
    for item in ("a", "b"):
        assert 0.99 < found[True][item] @ found[False][item] < 0.9999999
    assert done.record["encoder_options"]["model"] == minilm
    again = record_encoder(tmp_path / "False" / "text_feat.json")
    assert again.weights() == encoder.weights()
    record = json.loads((tmp_path / "False" / "text_feat.json").read_text())
    record["weights_sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="weights have changed"):
        record_encoder(tmp_path / "other.json")


def test_vectors_of_ducho_become_features_as_they_are(tmp_path):
    layer = tmp_path / "visual_embeddings" / "torch" / "ResNet50" / "avgpool"
    layer.mkdir(parents=True)
    for item, values in {"12": [[3.0, 4.0]], "b": [1.0, 2.0], "c": [np.nan, 1.0]}.items():
        np.save(layer / f"{item}.npy", np.array(values))
    np.save(layer / "d.npy", np.ones(5))
    done = from_ducho(tmp_path / "visual_embeddings", tmp_path, "visual", progress=False)
    found = rows(done.file)
    assert {item: row.tolist() for item, row in found.items()} == {"12": [3, 4], "b": [1, 2]}
    assert done.record["origin"] == {"model": "ResNet50", "layer": "avgpool"}
    assert [entry["item"] for entry in done.record["missing"]] == ["c", "d"]


def test_several_layers_of_ducho_are_not_mixed(tmp_path):
    for layer in ("avgpool", "fc"):
        (tmp_path / "ResNet50" / layer).mkdir(parents=True)
        np.save(tmp_path / "ResNet50" / layer / "1.npy", np.ones(3))
    with pytest.raises(DataError, match=r"several layers .*avgpool.*fc"):
        from_ducho(tmp_path, tmp_path / "out", "visual", progress=False)
