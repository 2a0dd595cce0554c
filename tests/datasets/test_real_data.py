"""The public data sets are read with the counts their papers state."""

import pytest
import torch

from crossalign.datasets import DataOptions, describe, load_dataset


def sizes(data):
    return tuple(data.split(name).shape[1] for name in ("train", "valid", "test"))


def test_baby(data_root):
    data = load_dataset(data_root / "baby")
    assert (data.n_users, data.n_items) == (19445, 7050)
    assert sizes(data) == (118551, 20559, 21682)
    assert data.dropped == {"valid": 0, "test": 0}
    assert describe(data).items.without == 3
    for modality in ("image", "text"):
        assert data.features[modality].shape == (7050, 192)
        graph = data.item_graphs[modality]
        assert torch.bincount(graph.edges[0], minlength=7050).unique().tolist() == [10]


@pytest.mark.parametrize("swap", [False, True])
def test_tiktok(data_root, swap):
    data = load_dataset(data_root / "tiktok", options=DataOptions(swap_valid_test=swap))
    assert (data.n_users, data.n_items) == (9308, 6710)
    held_out = (6125, 3046) if swap else (3046, 6125)
    assert sizes(data) == (59541, *held_out)
    assert data.dropped == {"valid": 5, "test": 5}  # 3,051 and 6,130 rows in the files
    assert data.modalities == ("audio", "image")
    report = describe(data)
    assert (report.users.without, report.items.without) == (10, 465)


def test_movielens_graph_without_features_and_new_split(data_root):
    data = load_dataset(data_root / "ml100k", options=DataOptions(split="random"))
    assert (data.n_users, data.n_items, sum(sizes(data))) == (943, 1682, 100000)
    assert data.modalities == ("text",)
    assert list(data.item_graphs) == ["image"]


def test_microlens(data_root):
    data = load_dataset(data_root / "microlens50k", options=DataOptions(split="chronological"))
    assert (data.n_users, data.n_items, sum(sizes(data))) == (50000, 19220, 359708)
