"""`Dataset` refuses every inconsistency with one line that says where and how to mend it."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from crossalign.datasets import DataError, Dataset, ItemGraph
from crossalign.errors import CrossalignError


def pairs(*rows):
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).T


def good(**changes):
    fields = {
        "name": "toy",
        "n_users": 2,
        "n_items": 3,
        "train": pairs((0, 0), (0, 1), (1, 2)),
        "valid": pairs((0, 2)),
        "test": pairs((1, 0)),
        "features": {"audio": torch.ones(3, 2), "smell": torch.ones(3, 4)},
    }
    return Dataset(**{**fields, **changes})


def graph(edges, similarity):
    return ItemGraph(torch.tensor(edges, dtype=torch.int64), torch.tensor(similarity))


FEATURES = {"audio": torch.ones(3, 2)}
NAN = torch.tensor([[1.0, 1.0], [1.0, float("nan")], [1.0, 1.0]])
MASK = torch.tensor([False, True, False])

BAD = {
    "no users": ({"n_users": 0}, "n_users is 0"),
    "users not whole": ({"n_users": 2.0}, "n_users is 2.0"),
    "list for pairs": ({"train": [[0], [0]]}, "train split: is a list; give a torch tensor"),
    "int32 pairs": ({"train": pairs((0, 0)).int()}, "train split: has dtype int32"),
    "pairs as rows": ({"valid": torch.zeros(5, 2, dtype=torch.int64)}, "valid split: has shape"),
    "empty train": ({"train": pairs()}, "train split: holds no interaction"),
    "empty valid": ({"valid": pairs()}, "valid split: holds no interaction"),
    "empty test": ({"test": pairs()}, "test split: holds no interaction"),
    "user too large": ({"valid": pairs((0, 2), (2, 0))}, "user id 2 in row 1 is outside 0 .. 1"),
    "negative item": ({"train": pairs((0, -1), (1, 0))}, "item id -1 in row 0 is outside 0 .. 2"),
    "duplicate pair": (
        {"train": pairs((0, 1), (1, 2), (0, 1))},
        "the pair (user 0, item 1) stands in rows 0 and 2",
    ),
    "untrained user": (
        {"train": pairs((0, 0)), "test": pairs((0, 1), (1, 0))},
        "test split: user 1 in row 1 has no training row",
    ),
    "feature rows": ({"features": {"audio": torch.ones(4, 2)}}, "features of 'audio': has shape"),
    "feature dims": ({"features": {"audio": torch.ones(3)}}, "has shape (3,), expected (3, n)"),
    "no columns": ({"features": {"audio": torch.ones(3, 0)}}, "has no columns"),
    "float16": ({"features": {"audio": torch.ones(3, 2).half()}}, "has dtype float16; convert"),
    "NaN": ({"features": {"audio": NAN}}, "features of 'audio': NaN in row 1 (1 such row(s))"),
    "infinite": ({"features": {"audio": NAN.nan_to_num() / 0}}, "an infinite value in row 0"),
    "name of items": ({"features": {"id": torch.ones(3, 2)}}, "modality name 'id'"),
    "name with dot": ({"features": {"a.b": torch.ones(3, 2)}}, "modality name 'a.b'"),
    "mask of nothing": ({"missing": {"taste": MASK}}, "missing mask of 'taste': there are no"),
    "mask length": ({"missing": {"audio": MASK[:2]}}, "mask of 'audio': has shape (2,)"),
    "mask dtype": ({"missing": {"audio": MASK.int()}}, "mask of 'audio': has dtype int32"),
    "mask on values": ({"missing": {"audio": MASK}}, "row 1 is marked missing but holds values"),
    "graph range": (
        {"item_graphs": {"audio": graph([[0], [3]], [0.5])}},
        "ready graph of 'audio': item id 3 in row 0 is outside 0 .. 2",
    ),
    "graph empty": (
        {"item_graphs": {"audio": graph([[], []], [])}},
        "ready graph of 'audio': holds no edge",
    ),
    "graph lengths": (
        {"item_graphs": {"audio": graph([[0, 1], [1, 2]], [0.5])}},
        "similarity: has shape (1,), expected (2,)",
    ),
    "graph cosine": (
        {"item_graphs": {"audio": graph([[0, 1], [1, 2]], [0.5, 1.5])}},
        "similarity 1.5 in row 1 is no cosine",
    ),
    "graph NaN": (
        {"item_graphs": {"audio": graph([[0], [1]], [float("nan")])}},
        "similarity nan in row 0 is no cosine",
    ),
    "graph duplicate": (
        {"item_graphs": {"audio": graph([[0, 0], [1, 1]], [0.5, 0.5])}},
        "edge (0, 1) stands twice",
    ),
    "member of torch's modules": (
        {"features": {"items": torch.ones(3, 2)}},
        "modality name 'items': torch's modules have a member of it; rename",
    ),
    "user ids": ({"user_ids": np.arange(3)}, "user_ids: is (3,), expected"),
    "item ids repeat": ({"item_ids": np.array(["a", "b", "a"])}, "item_ids: id a stands twice"),
    "truth length": ({"truth": torch.zeros(2, dtype=torch.int64)}, "truth: has shape (2,)"),
    "truth range": (
        {"truth": torch.tensor([0, 1, 2])},
        "truth: modality id 2 in row 2 is outside 0 .. 1",
    ),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_line(changes, message):
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        good(**changes)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, CrossalignError)


def test_good_input_is_accepted_with_everything_in_it():
    masked = torch.ones(3, 2)
    masked[1] = 0
    data = good(
        features={"audio": masked, "smell": torch.ones(3, 4, dtype=torch.float64)},
        missing={"audio": MASK},
        item_graphs={"film": graph([[0, 1], [1, 1]], [0.5, 1.0000001])},
        user_ids=np.array(["x", "y"]),
        truth=torch.tensor([0, 1, 1]),
    )
    assert data.modalities == ("audio", "smell")
    assert {table.dtype for table in data.features.values()} == {torch.float32}
    assert data.split("valid") is data.valid


def test_dataset_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        good().n_users = 5


def test_one_user_and_one_item_suffice():
    one = pairs((0, 0))
    assert Dataset("one", 1, 1, one, one, one).n_items == 1
