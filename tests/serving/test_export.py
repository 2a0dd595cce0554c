"""An export holds what a service needs, in files that other programs read, and recommends alike."""

import json

import faiss
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from crossalign.cli import main
from crossalign.errors import ConfigError, DataError, RunError
from crossalign.evaluation.recommend import recommend
from crossalign.pipeline import load_run
from crossalign.serving import Recommender, export_run
from crossalign.serving import export as module
from crossalign.serving.new_items import read_new_items


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set with text ids, in which item `i0` has no training rows, and a run on it."""
    folder = tmp_path_factory.mktemp("serving")
    rng = np.random.default_rng(0)
    rows = {(u, (u % 2) + 2 * i) for u in range(40) for i in rng.choice(np.arange(1, 15), 6, False)}
    table = pd.DataFrame(sorted(rows), columns=["user", "item"])
    table["split"] = np.where(rng.random(len(table)) < 0.75, "train", "test")
    table.loc[rng.choice(len(table), 12, False), "split"] = "valid"
    table.loc[len(table)] = [0, 0, "test"]
    table["user"], table["item"] = "u" + table["user"].astype(str), "i" + table["item"].astype(str)
    (folder / "data").mkdir()
    table.to_csv(folder / "data" / "interactions.csv", index=False)
    ids = np.array([f"i{i}" for i in range(30)])
    sides = np.stack([np.arange(30) % 2, 1 - np.arange(30) % 2], 1) + 0.1 * rng.random((30, 2))
    np.savez(folder / "data" / "look_feat.npz", ids=ids, features=sides.astype(np.float32))
    command = f"train {folder}/data --backbone lightgcn --out {folder}/run --quiet"
    options = "training.epochs=40", "training.learning_rate=0.02", "backbone.dim=8"
    code = main([*command.split(), *(part for option in options for part in ("--set", option))])
    assert code == 0
    assert main(["export", str(folder / "run"), "--out", str(folder / "shop")]) == 0
    return folder


def test_the_files_are_what_they_say(folder) -> None:
    _, dataset, backbone = load_run(folder / "run")
    user, item = backbone.eval()()
    shop = folder / "shop"
    vectors, about = (
        load_file(shop / "vectors.safetensors"),
        json.loads((shop / "about.json").read_text()),
    )
    np.testing.assert_array_equal(vectors["user"], user.detach().numpy())
    items, users = pd.read_csv(shop / "items.csv"), pd.read_csv(shop / "users.csv")
    assert list(items["id"]) == list(dataset.item_ids)
    assert list(users["id"]) == list(dataset.user_ids)
    unbought = items["interactions"] == 0
    assert unbought.any()
    assert (items["vector"] == "content").equals(unbought)
    np.testing.assert_array_equal(vectors["item"][~unbought], item.detach().numpy()[~unbought])
    index = faiss.read_index(str(shop / "items.faiss"))
    scores, found = index.search(vectors["user"][:3], 4)
    expected = vectors["user"][:3] @ vectors["item"].T
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :4], rtol=1e-5)
    assert found.shape == (3, 4)
    assert about["index"] == {"kind": "flat", "metric": "inner product", "recall@20": 1.0}
    assert about["unbought"] == {
        "items": int(unbought.sum()),
        "vectors": "content",
        "test_rows": int(unbought[dataset.test[1].numpy()].sum()),
        "auc": None,
    }
    assert about["content_map"]["modalities"] == {"look": 2}
    assert about["test"]["recall@20"] > 0


def test_lists_are_those_of_the_run_without_what_users_have(folder) -> None:
    _, dataset, _ = load_run(folder / "run")
    shop = Recommender.load(folder / "shop")
    pairs = torch.cat([dataset.train, dataset.valid, dataset.test], dim=1)
    ids, scores = recommend((shop.user, shop.item), torch.arange(40), 5, pairs)
    lists = shop.recommend(list(shop.users), 5)
    for row, user in enumerate(shop.users):
        mine = lists[lists["user"] == user]
        kept = ids[row] >= 0
        assert list(mine["item"]) == list(shop.items[ids[row][kept].numpy()])
        assert list(mine["rank"]) == list(range(1, int(kept.sum()) + 1))
        np.testing.assert_allclose(mine["score"], scores[row][kept], rtol=1e-5)
    some = shop.recommend(["u3", "u1", "u3"], 5)
    assert list(some["user"].unique()) == ["u3", "u1"]
    assert some["item"].tolist()[:5] == lists[lists["user"] == "u3"]["item"].tolist()


def test_a_history_stands_for_someone_unknown(folder) -> None:
    shop = Recommender.load(folder / "shop")
    lists = shop.recommend_for(["i3", "i5", "i7"], 6)
    assert not set(lists["item"]) & {"i3", "i5", "i7"}
    assert all(int(item[1:]) % 2 for item in lists["item"])
    row = shop.items.get_loc(lists["item"][0])
    mean = shop.item[shop.items.get_indexer(["i3", "i5", "i7"])].mean(0)
    assert lists["score"][0] == pytest.approx(float(mean @ shop.item[row]), rel=1e-5)


def test_new_items_go_to_the_users_of_their_content(folder, tmp_path) -> None:
    """Odd users like odd items, and the content says which an item is."""
    file = tmp_path / "new.npz"
    np.savez(file, ids=np.array(["even", "odd"]), features=np.float32([[0, 1], [1, 0]]))
    shop = Recommender.load(folder / "shop").with_items(*read_new_items({"look": file}))
    lists = shop.recommend(["u2", "u5"], 1, among=["even", "odd"])
    assert list(lists["item"]) == ["even", "odd"]
    out = tmp_path / "lists.csv"
    command = ["recommend", str(folder / "shop"), "--new", f"look={file}", "-k", "1", "--only-new"]
    assert main([*command, "-o", str(out)]) == 0
    written = pd.read_csv(out)
    assert len(written) == 40
    odd = written["user"].str[1:].astype(int) % 2 == 1
    assert ((written["item"] == "odd") == odd).mean() > 0.9


def test_an_item_may_lack_a_modality_of_others(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", ids=np.array(["x", "y"]), features=np.ones((2, 3)))
    pd.DataFrame({"id": ["y", "z"], "f": [1.0, 2.0]}).to_parquet(tmp_path / "b.parquet")
    ids, features, missing = read_new_items({"a": tmp_path / "a.npz", "b": tmp_path / "b.parquet"})
    assert ids == ["x", "y", "z"]
    assert features["b"].tolist() == [[0], [1], [2]]
    assert missing["a"].tolist() == [False, False, True]
    assert missing["b"].tolist() == [True, False, False]


def test_trained_vectors_stay_where_they_are_asked_for(folder, tmp_path) -> None:
    about = export_run(folder / "run", tmp_path, unbought="trained")
    assert about["unbought"]["vectors"] == "trained"
    assert about["content_map"] is not None


def test_an_approximate_index_says_its_recall(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "EXACT_UP_TO", 5)
    about = export_run(folder / "run", tmp_path)
    assert about["index"]["kind"] == "hnsw"
    assert about["index"]["recall@20"] > 0.9


def test_an_export_is_never_half_written(folder, tmp_path, monkeypatch) -> None:
    """`about.json` comes last, and without it the folder is no export."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_seen", full)
    with pytest.raises(OSError, match="No space"):
        export_run(folder / "run", tmp_path / "new")
    with pytest.raises(DataError, match="is no export"):
        Recommender.load(tmp_path / "new")


def test_an_export_that_cannot_be_replaced_goes_on_working(folder, tmp_path, monkeypatch) -> None:
    export_run(folder / "run", tmp_path / "shop")
    before = {file.name: file.read_bytes() for file in (tmp_path / "shop").iterdir()}
    test_an_export_is_never_half_written(folder, tmp_path, monkeypatch)
    with pytest.raises(OSError, match="No space"):
        export_run(folder / "run", tmp_path / "shop")
    assert {file.name: file.read_bytes() for file in (tmp_path / "shop").iterdir()} == before


def test_what_cannot_be_served_is_refused_in_one_line(folder, tmp_path, capsys) -> None:
    shop = str(folder / "shop")
    np.savez(tmp_path / "old.npz", ids=np.array(["i3"]), features=np.ones((1, 2)))
    np.savez(tmp_path / "wide.npz", ids=np.array(["x"]), features=np.ones((1, 3)))
    np.savez(tmp_path / "nan.npz", ids=np.array(["x"]), features=np.full((1, 2), np.nan))
    np.savez(tmp_path / "twice.npz", ids=np.array(["x", "x"]), features=np.ones((2, 2)))
    refused = {
        ("--users", "u99"): "user 'u99' is unknown: the export has 40, such as 'u0'",
        ("--history", "i99"): "item 'i99' is unknown",
        (): "need a file",
        ("--users", "u1", "--history", "i3"): "not allowed with",
        ("--users", "u1", "--only-new"): "nothing to choose from",
        ("--users", "u1", "-k", "0"): "not a positive integer",
        ("-o", "lists.txt"): "does not end in .csv",
        ("--users", "u1", "--new", "look"): "write it as modality=file",
        ("--users", "u1", "--new", "look=none.npz"): "no such file",
        ("--users", "u1", "--new", f"look={tmp_path}/old.npz"): "in the catalogue already",
        ("--users", "u1", "--new", f"look={tmp_path}/wide.npz"): "trained with 2",
        ("--users", "u1", "--new", f"look={tmp_path}/nan.npz"): "not finite",
        ("--users", "u1", "--new", f"look={tmp_path}/twice.npz"): "stands twice",
        ("--users", "u1", "--new", f"sound={tmp_path}/old.npz"): "item 'i3' is in the catalogue",
    }
    for arguments, says in refused.items():
        assert main(["recommend", shop, *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert says in error, error
        assert error.count("\n") == 1
    assert main(["recommend", str(tmp_path), "--users", "u1"]) == 2
    assert "is no export" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no finished run" in capsys.readouterr().err


def test_damage_is_named(folder, tmp_path) -> None:
    import shutil

    shop = shutil.copytree(folder / "shop", tmp_path / "shop")
    (shop / "vectors.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match="is damaged"):
        Recommender.load(shop)
    with pytest.raises(RunError, match="no finished run"):
        export_run(shop, tmp_path / "out")


def test_a_run_without_content_exports_without_a_way_in(folder, tmp_path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "interactions.csv").write_text((folder / "data" / "interactions.csv").read_text())
    command = f"train {data} --backbone bpr --out {tmp_path}/run --quiet --set training.epochs=1"
    assert main(command.split()) == 0
    about = export_run(tmp_path / "run", tmp_path / "shop")
    assert about["content_map"] is None
    shop = Recommender.load(tmp_path / "shop")
    assert len(shop.recommend(["u1"], 3)) == 3
    with pytest.raises(DataError, match="had no content"):
        shop.with_items(["x"], {"look": torch.zeros(1, 2)})
    with pytest.raises(ConfigError, match="one item at least"):
        shop.recommend_for([], 3)
    with pytest.raises(RunError, match="has no content"):
        export_run(tmp_path / "run", tmp_path / "shop", unbought="content")
