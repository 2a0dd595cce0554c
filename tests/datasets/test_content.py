"""Feature tables and ready graphs of any modality land on the right items."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from crossalign.datasets import DataError, DataOptions, load_dataset
from crossalign.datasets.content import read_content

OPTIONS = DataOptions()


def read(folder, item_ids, all_items=False, **options):
    return read_content(folder, np.asarray(item_ids), DataOptions(**options), all_items=all_items)


@pytest.fixture
def graph():
    return {
        "row": np.array([0, 0, 4], np.int32),
        "col": np.array([0, 4, 2], np.int32),
        "cos": np.array([1.0, 0.5, 0.25], np.float16),
        "shape": np.array([5, 5]),
    }


def test_npy_rows_are_integer_item_ids(tmp_path, features):
    np.save(tmp_path / "smell_feat.npy", features)
    content = read(tmp_path, [1, 4])
    assert content.features["smell"].tolist() == features[[1, 4]].tolist()
    assert content.missing == {}


@pytest.mark.parametrize("ids", [["a", "b", "x"], np.array([7, 30, 8])], ids=["text", "integer"])
@pytest.mark.parametrize("suffix", ["npz", "lists.parquet", "columns.parquet"])
def test_keyed_features_find_their_items_and_mark_missing_rows(tmp_path, features, ids, suffix):
    path = tmp_path / f"smell_feat.{suffix.split('.')[-1]}"
    values = features[:3]
    if suffix == "npz":
        np.savez(path, ids=ids, features=values)
    elif suffix == "lists.parquet":
        pd.DataFrame({"item": ids, "vector": list(values)}).to_parquet(path)
    else:
        pd.DataFrame(values).assign(item=ids)[["item", 0, 1, 2]].rename(columns=str).to_parquet(
            path
        )
    wanted = [ids[2], ids[0], type(ids[0])(99)]
    content = read(tmp_path, wanted)
    expected = [values[2].tolist(), values[0].tolist(), [0, 0, 0]]
    assert content.features["smell"].tolist() == expected
    assert content.missing["smell"].tolist() == [False, False, True]


def test_ready_graph_is_renumbered_and_loses_edges_of_items_left_out(tmp_path, graph):
    np.savez(tmp_path / "smell_knn2_cos.npz", **graph)
    content = read(tmp_path, [0, 1, 2, 4])
    assert content.item_graphs["smell"].edges.tolist() == [[0, 0, 3], [0, 3, 2]]
    assert content.item_graphs["smell"].similarity.tolist() == [1.0, 0.5, 0.25]
    assert read(tmp_path, [0, 3, 4]).item_graphs["smell"].edges.tolist() == [[0, 0], [0, 2]]


def test_graph_may_stand_alone_or_be_left_out(write_inter, graph):
    folder = write_inter()
    np.savez(folder / "smell_knn.npz", **graph)
    data = load_dataset(folder)
    assert (data.modalities, list(data.item_graphs)) == ((), ["smell"])
    assert load_dataset(folder, options=DataOptions(item_graphs=False)).item_graphs == {}


def test_modalities_can_be_chosen_and_ordered(tmp_path, features):
    for modality in ("a", "b", "c"):
        np.save(tmp_path / f"{modality}_feat.npy", features)
    assert list(read(tmp_path, range(5)).features) == ["a", "b", "c"]
    assert list(read(tmp_path, range(5), modalities=("c", "a")).features) == ["c", "a"]
    assert read(tmp_path, range(5), modalities=()).features == {}
    with pytest.raises(DataError, match=r"no modality 'd' .*; found: a, b, c"):
        read(tmp_path, range(5), modalities=("d",))


TABLE = np.ones((5, 2), np.float32)
KEYED = {"ids": np.arange(5), "features": TABLE}

BAD_FEATURES = {
    "too few rows": ("m_feat.npy", TABLE[:4], "4 rows for 5 items; give one row for each item"),
    "too many rows": ("m_feat.npy", np.ones((6, 2)), "6 rows for 5 items"),
    "one dimension": ("m_feat.npy", np.ones(5), "is float64 of shape (5,); give a table"),
    "one number": ("m_feat.npy", np.float32(5), "is float32 of shape (); give a table"),
    "text": ("m_feat.npy", np.full((5, 2), "x"), "is <U1 of shape (5, 2); give a table"),
    "objects": ("m_feat.npy", np.full((5, 2), {}), "not a readable .npy array of numbers"),
    "no ids": ("m_feat.npz", {"features": TABLE}, "lacks the array 'ids'; needs ids, features"),
    "foreign ids": ("m_feat.npz", {**KEYED, "ids": np.arange(10, 15)}, "none of its ids, such as"),
    "repeated ids": ("m_feat.npz", {**KEYED, "ids": np.zeros(5, int)}, "item id 0 stands twice"),
    "ids in a table": ("m_feat.npz", {**KEYED, "ids": TABLE}, "ids have shape (5, 2)"),
    "id count": (
        "m_feat.npz",
        {**KEYED, "ids": np.arange(4)},
        "4 ids for features of shape (5, 2)",
    ),
    "object ids": ("m_feat.npz", {**KEYED, "ids": np.full(5, {})}, "not a readable .npz"),
}


@pytest.mark.parametrize(("name", "value", "message"), BAD_FEATURES.values(), ids=BAD_FEATURES)
def test_bad_features_are_one_clear_line(tmp_path, name, value, message):
    if name.endswith("npy"):
        np.save(tmp_path / name, value, allow_pickle=True)
    else:
        np.savez(tmp_path / name, **value)
    with pytest.raises(DataError, match=re.escape(f"{name}: {message}")) as caught:
        read(tmp_path, range(5), all_items=True)
    assert "\n" not in str(caught.value)


BAD_GRAPHS = {
    "no cosines": ({"cos": None}, "lacks the array 'cos'; needs row, col, cos"),
    "fractional rows": ({"row": np.array([0.0, 0.0, 4.0])}, "row and col must be whole numbers"),
    "lengths": ({"cos": np.ones(2, np.float32)}, "row (3,), col (3,) and cos (2,) must be equally"),
    "other size": ({"shape": np.array([6, 6])}, "6 rows for 5 items"),
    "beyond shape": ({"col": np.array([0, 5, 2])}, "an item id is outside 0 .. 4"),
    "negative": ({"col": np.array([0, -1, 2])}, "an item id is outside 0 .. 4"),
    "shape is a number": ({"shape": np.array(5)}, "shape is 5; give two numbers"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_GRAPHS.values(), ids=BAD_GRAPHS)
def test_bad_graphs_are_one_clear_line(tmp_path, graph, changes, message):
    arrays = {k: v for k, v in {**graph, **changes}.items() if v is not None}
    np.savez(tmp_path / "m_knn5.npz", **arrays)
    with pytest.raises(DataError, match=re.escape(f"m_knn5.npz: {message}")):
        read(tmp_path, range(5), all_items=True)


@pytest.mark.parametrize("name", ["m_feat.npy", "m_feat.npz", "m_feat.parquet", "m_knn.npz"])
def test_damaged_files_are_one_clear_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00 not a file of this kind")
    with pytest.raises(DataError, match=re.escape(name)) as caught:
        read(tmp_path, range(5))
    assert "\n" not in str(caught.value)


def test_nan_is_found_with_its_row(write_inter, features):
    folder = write_inter()
    features[3, 1] = np.nan
    np.save(folder / "smell_feat.npy", features)
    with pytest.raises(DataError, match="features of 'smell': NaN in row 3"):
        load_dataset(folder)


def test_two_files_of_one_modality_are_refused(tmp_path, features, graph):
    np.savez(tmp_path / "m_knn5.npz", **graph)
    np.savez(tmp_path / "m_knn10.npz", **graph)
    with pytest.raises(DataError, match=r"both m_knn10.npz and m_knn5.npz; keep one"):
        read(tmp_path, range(5))


def test_row_numbers_cannot_stand_for_text_ids_or_ids_beyond_the_rows(tmp_path, features):
    np.save(tmp_path / "m_feat.npy", features)
    with pytest.raises(DataError, match=r"ids are strings such as 'B00'; use an \.npz"):
        read(tmp_path, ["B00", "B01"])
    with pytest.raises(DataError, match="5 rows, but item id 5 has none"):
        read(tmp_path, [0, 5])


def test_lists_of_unequal_length_are_refused(tmp_path):
    frame = pd.DataFrame({"item": [0, 1], "vector": [[1.0, 2.0], [1.0]]})
    frame.to_parquet(tmp_path / "m_feat.parquet")
    with pytest.raises(DataError, match="the list in row 1 has another length than row 0"):
        read(tmp_path, [0, 1])


def test_features_are_float32(tmp_path, features):
    np.save(tmp_path / "m_feat.npy", features.astype(np.float64))
    assert read(tmp_path, range(5)).features["m"].dtype == torch.float32
