"""Features from files outside the data folder: any layout, added or in place of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossalign.config import load_config, to_yaml
from crossalign.datasets import DataError, DataOptions, load_dataset
from crossalign.errors import ConfigError
from crossalign.graphs import dataset_hash
from crossalign.run_identity import run_fingerprint

PLANTED = {"planted_users": 60, "planted_items": 40}


@pytest.fixture
def unified(tmp_path: Path) -> str:
    """A file of forty rows, as many as the small planted data set has items."""
    file = tmp_path / "outside" / "unified_feat.npy"
    file.parent.mkdir()
    np.save(file, np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32))
    return str(file)


def test_a_file_adds_a_modality(unified):
    before = load_dataset("planted", options=DataOptions(**PLANTED))
    data = load_dataset("planted", options=DataOptions(**PLANTED, features={"unified": unified}))
    assert data.modalities == ("image", "text", "unified")
    assert data.features["unified"].tolist() == np.load(unified).tolist()
    assert data.features["image"].equal(before.features["image"])
    assert data.train.equal(before.train)
    assert data.truth is None  # it names planted modalities, and says nothing of the new one


def test_modalities_choose_and_order_files_too(unified):
    def load(*modalities):
        options = DataOptions(**PLANTED, features={"unified": unified}, modalities=modalities)
        return load_dataset("planted", options=options).modalities

    assert load("unified") == ("unified",)
    assert load("unified", "text") == ("unified", "text")
    with pytest.raises(ConfigError, match=r"data\.features\.unified has no effect"):
        load("text")
    with pytest.raises(DataError, match="has no modality 'sound'"):
        load("unified", "sound")


def test_a_file_replaces_features_with_their_mask_and_their_ready_graph(write_inter, tmp_path):
    folder = write_inter()
    np.savez(folder / "smell_feat.npz", ids=np.arange(4), features=np.ones((4, 3), np.float32))
    edges = {"row": np.array([0]), "col": np.array([1]), "cos": np.array([0.5])}
    np.savez(folder / "smell_knn.npz", **edges)
    given = load_dataset(folder)
    assert (list(given.missing), list(given.item_graphs)) == (["smell"], ["smell"])
    file = tmp_path / "other.npy"
    np.save(file, np.full((5, 2), 3.0, np.float16))
    data = load_dataset(folder, options=DataOptions(features={"smell": str(file)}))
    assert data.features["smell"].tolist() == [[3.0, 3.0]] * 5
    assert (data.missing, data.item_graphs) == ({}, {})
    assert data.notes == ("smell: stored as float16, widened to float32",)


def test_items_with_ids_of_their_own_need_a_keyed_file(tmp_path):
    (tmp_path / "interactions.csv").write_text("user,item\nu,pen\nu,ink\nu,cup\n")
    keyed, rows = tmp_path / "keyed.npz", tmp_path / "rows.npy"
    np.savez(keyed, ids=np.array(["ink", "pen"]), features=np.array([[1.0], [2.0]]))
    np.save(rows, np.ones((3, 1)))
    data = load_dataset(tmp_path, options=DataOptions(features={"unified": str(keyed)}))
    table = dict(zip(data.item_ids, data.features["unified"].squeeze(1).tolist(), strict=True))
    assert table == {"cup": 0.0, "ink": 1.0, "pen": 2.0}
    assert data.missing["unified"].tolist() == [True, False, False]
    with pytest.raises(DataError, match="with ids and features"):
        load_dataset(tmp_path, options=DataOptions(features={"unified": str(rows)}))


def test_mmssl_data_take_files_too(write_mmssl, features, tmp_path):
    file = tmp_path / "unified.npy"
    np.save(file, features)
    data = load_dataset(write_mmssl(), options=DataOptions(features={"unified": str(file)}))
    assert data.features["unified"].tolist() == features.tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((39, 2)), "39 rows for 40 items"),
        (np.ones(40), "is float64 of shape"),
        (np.full((40, 2), np.nan), "features of 'unified': NaN in row 0"),
    ],
    ids=["rows", "shape", "nan"],
)
def test_files_are_checked_like_all_features(tmp_path, values, message):
    file = tmp_path / "bad.npy"
    np.save(file, values)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset("planted", options=DataOptions(**PLANTED, features={"unified": str(file)}))
    assert "\n" not in str(caught.value)


def test_missing_and_unknown_files_are_named_with_their_option():
    with pytest.raises(DataError, match=r"data\.features\.unified is no\.npy: no such file"):
        load_dataset("planted", options=DataOptions(**PLANTED, features={"unified": "no.npy"}))
    with pytest.raises(DataError, match=r"is my\.csv: give a file \.npy, \.npz, \.parquet"):
        load_dataset("planted", options=DataOptions(**PLANTED, features={"unified": "my.csv"}))


def test_modality_names_are_checked(unified):
    with pytest.raises(DataError, match="modality name 'a b'"):
        load_dataset("planted", options=DataOptions(**PLANTED, features={"a b": unified}))


def test_paths_are_relative_to_the_working_directory(unified, monkeypatch):
    monkeypatch.chdir(Path(unified).parent)
    options = DataOptions(**PLANTED, features={"unified": "unified_feat.npy"})
    assert "unified" in load_dataset("planted", options=options).features


def test_contents_of_the_file_decide_the_identity_of_a_run(unified, tmp_path):
    """A file with other contents under the same name must not continue a checkpoint."""
    small = [f"data.{key}={value}" for key, value in PLANTED.items()]
    only = [f"data.features.unified={unified}", "data.modalities=[unified]"]
    config = load_config(None, [*small, *only])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yaml") == config

    def identity():
        data = load_dataset(config.path, options=config.data)
        return dataset_hash(data), run_fingerprint(config, data)

    before = identity()
    assert identity() == before
    np.save(unified, np.load(unified) + 1)
    after = identity()
    assert after[0] != before[0]
    assert after[1] != before[1]
