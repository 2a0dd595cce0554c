"""The report counts right, warns of what spoils results, and fits the screen."""

import json

import numpy as np
import pytest
import torch

from crossalign.datasets import Dataset, ItemGraph, describe, planted
from crossalign.report.dataset_text import dataset_lines


def pairs(*rows):
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).T


@pytest.fixture
def dataset():
    audio = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3.0, 4.0], [3.0, 0.0]])
    return Dataset(
        name="toy",
        n_users=3,
        n_items=4,
        train=pairs((0, 0), (0, 1), (0, 2), (1, 0)),
        valid=pairs((0, 3)),
        test=pairs((1, 1), (1, 0)),
        features={"audio": audio, "smell": torch.ones(4, 2)},
        missing={"audio": torch.tensor([False, True, False, False])},
        item_graphs={
            "audio": ItemGraph(pairs((0, 2), (0, 3), (1, 0)), torch.tensor([1.0, 0.5, 0.9])),
            "film": ItemGraph(pairs((0, 2)), torch.tensor([1.0])),
        },
        dropped={"valid": 0, "test": 7},
        notes=("audio: stored as float16, widened to float32",),
    )


def test_counts(dataset):
    report = describe(dataset)
    assert report.interactions == {"train": 4, "valid": 1, "test": 2}
    assert report.sparsity == pytest.approx(1 - 7 / 12)
    users, items = report.users, report.items
    assert (users.min, users.median, users.mean, users.max) == (0, 1, 4 / 3, 3)
    assert (users.without, items.without) == (1, 1)
    assert items.p90 == np.quantile([2, 1, 1, 0], 0.9)


def test_content(dataset):
    audio, film = (describe(dataset).modalities[name] for name in ("audio", "film"))
    assert (audio.dim, audio.missing, audio.duplicates, audio.constant) == (2, 1, 1, 1)
    assert (audio.norm_mean, audio.norm_max) == (pytest.approx(13 / 3), 5.0)
    assert audio.graph_edges == 3
    # Items 0 and 2 agree; 0 and 3 have cosine 0.6, not 0.5; item 1 has no features.
    assert audio.graph_gap == pytest.approx(0.05)
    assert (film.dim, film.graph_edges) == (None, 1)


@pytest.mark.parametrize(
    "warning",
    [
        "audio: stored as float16, widened to float32",
        "7 test row(s) left out: their users have no training row",
        "1 user(s) have no training row and are not evaluated",
        "1 item(s) have no training row",
        "1 test row(s) are training rows too: masked, they can never be found",
        "audio: 1 of 4 items lack it",
        "audio: 1 row(s) repeat another row: such items cannot be told apart",
        "audio: 1 of 2 columns are constant",
        "audio: cosines of the ready graph and of the features differ by 0.0500 on average",
        "film: no features, only a ready graph",
        "smell: 3 row(s) repeat another row",
        "smell: 2 of 2 columns are constant",
    ],
)
def test_warnings(dataset, warning):
    assert any(line.startswith(warning) for line in describe(dataset).warnings)


def test_no_warning_without_reason():
    clean = Dataset(
        "clean", 1, 2, pairs((0, 0), (0, 1)), pairs((0, 0)), pairs((0, 1)),
        features={"audio": torch.eye(2)},
    )  # fmt: skip
    warnings = describe(clean).warnings
    assert [line for line in warnings if "training rows too" not in line] == []


def test_text_fits_80_columns_and_dict_is_json(dataset):
    for data in (dataset, planted(60, 40)):
        report = describe(data)
        assert max(map(len, dataset_lines(report))) <= 80
        assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == report.to_dict()


def test_very_long_names_still_fit():
    data = Dataset(
        "n" * 200, 1, 2, pairs((0, 0), (0, 1)), pairs((0, 0)), pairs((0, 1)),
        features={"m" * 100: torch.eye(2)},
    )  # fmt: skip
    assert max(map(len, dataset_lines(describe(data)))) <= 80


def test_all_missing_modality_is_reported():
    data = Dataset(
        "toy", 1, 2, pairs((0, 0), (0, 1)), pairs((0, 0)), pairs((0, 1)),
        features={"audio": torch.zeros(2, 3)},
        missing={"audio": torch.tensor([True, True])},
    )  # fmt: skip
    audio = describe(data).modalities["audio"]
    assert (audio.missing, audio.duplicates, audio.norm_mean) == (2, 0, None)
