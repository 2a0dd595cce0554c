"""Metrics of single users: their means are the metrics, and the file gives them back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossalign.datasets import DataOptions, load_dataset
from crossalign.errors import RunError
from crossalign.evaluation import evaluate
from crossalign.evaluation.per_user import (
    UserMetrics,
    evaluate_users,
    load_user_metrics,
    save_user_metrics,
)
from crossalign.models import Representations


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("planted", options=DataOptions(planted_users=150, planted_items=100))


@pytest.fixture(scope="module")
def scores(dataset):
    draws = torch.Generator().manual_seed(0)
    sizes = (dataset.n_users, dataset.n_items)
    return Representations(*(torch.randn(size, 8, generator=draws) for size in sizes))


def test_their_means_are_the_metrics(dataset, scores):
    metrics, users = evaluate_users(scores, dataset, "test", [5, 10])
    assert metrics == evaluate(scores, dataset, "test", [5, 10])
    assert set(users.values) == {"recall@5", "recall@10", "ndcg@5", "ndcg@10"}
    for name, values in users.values.items():
        assert values.mean() == pytest.approx(metrics[name], abs=1e-12)


def test_rows_belong_to_the_users_named(dataset, scores):
    """One user looked up by hand."""
    _, users = evaluate_users(scores, dataset, "test", [10])
    assert users.users.tolist() == sorted(set(dataset.test[0].tolist()))
    user = int(users.users[7])
    seen = dataset.train[1][dataset.train[0] == user]
    row = scores.user[user] @ scores.item.T
    row[seen] = -torch.inf
    wanted = set(dataset.test[1][dataset.test[0] == user].tolist())
    hits = wanted & set(row.topk(10).indices.tolist())
    assert users.values["recall@10"][7] == pytest.approx(len(hits) / len(wanted))


def test_the_file_gives_them_back_in_single_precision(tmp_path):
    metrics = UserMetrics(np.array([2, 5]), {"recall@10": np.array([1 / 3, 0.0])})
    save_user_metrics(tmp_path / "users.npz", metrics)
    found = load_user_metrics(tmp_path / "users.npz")
    assert found.users.tolist() == [2, 5]
    assert found.values["recall@10"].dtype == np.float64
    assert found.values["recall@10"] == pytest.approx([1 / 3, 0.0], abs=1e-7)
    assert [file.name for file in tmp_path.iterdir()] == ["users.npz"]


def _damaged(file, what):
    """A file of two users, harmed."""
    save = np.savez_compressed if what == "other compression" else np.savez
    values = ["a", "b"] if what == "text" else [0.5] * (3 if what == "longer" else 2)
    save(file, users=np.array([2, 5]), **{"recall@10": np.array(values)})
    raw = bytearray(file.read_bytes())
    if what == "encrypted":
        for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            raw[raw.index(mark) + place] |= 1
    elif what == "other compression":  # deflated data, said to be packed otherwise
        raw = raw.replace(b"\x08\0", b"\x63\0")
    elif what == "half":
        del raw[len(raw) // 2 :]
    elif what == "bit":
        raw[raw.index(b"NUMPY") + 130] ^= 1
    file.write_bytes(raw)


@pytest.mark.parametrize(
    "what",
    ["none", "empty", "half", "bit", "encrypted", "other compression", "text", "longer", "array"],
)
def test_a_missing_or_damaged_file_is_one_line(what, tmp_path):
    file = tmp_path / "users.npz"
    if what == "empty":
        file.write_bytes(b"")
    elif what == "array":
        file.write_bytes(b"\x93NUMPY\x01\0")
    elif what != "none":
        _damaged(file, what)
    with pytest.raises(RunError, match="train the run anew") as error:
        load_user_metrics(file)
    assert "\n" not in str(error.value)
