"""Item-CF against a loop over its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossalign.datasets import Dataset
from crossalign.references.inputs import content_table
from crossalign.references.item_cf import ShrunkCosine, item_cf_scores, nearest_items


def looped_scores(dataset: Dataset, table: Tensor, k: int, shrink: float) -> list[list[float]]:
    n = len(table)
    kept: list[dict[int, float]] = []
    for i in range(n):
        row = {
            j: float(table[i] @ table[j] / (table[i].norm() * table[j].norm() + shrink))
            for j in range(n)
        }
        best = sorted(row, key=lambda j: (-row[j], j))[:k]
        kept.append({j: row[j] for j in best})
    scores = [[0.0] * n for _ in range(dataset.n_users)]
    for user, item in dataset.train.T.tolist():
        for j, similarity in kept[item].items():
            scores[user][j] += similarity
    return scores


@pytest.mark.parametrize(("normalise", "shrink"), [(True, 0.0), (True, 10.0), (False, 10.0)])
def test_scores_equal_the_loop(dataset: Dataset, normalise: bool, shrink: float) -> None:
    names = ("image",)
    table = content_table(dataset, names, normalise=normalise)
    out = torch.empty(dataset.n_users, dataset.n_items)
    item_cf_scores(dataset, table, k=3, shrink=shrink)(torch.arange(dataset.n_users), out)
    want = torch.tensor(looped_scores(dataset, table, 3, shrink))
    torch.testing.assert_close(out, want, atol=1e-5, rtol=1e-5)


def test_an_item_is_its_own_nearest_neighbour(dataset: Dataset) -> None:
    table = content_table(dataset, ("image",))
    matrix = nearest_items(ShrunkCosine(table, 0.0), 1)
    assert matrix.indices.tolist() == list(range(6))
    assert matrix.data == pytest.approx(1.0)


def test_shrink_orders_raw_features_but_not_unit_rows(dataset: Dataset) -> None:
    raw = content_table(dataset, ("image",), normalise=False)
    raw = raw * torch.logspace(-1, 1, 6).unsqueeze(1)
    unit = raw / raw.norm(dim=1, keepdim=True)

    def nearest(table: Tensor, shrink: float) -> list[list[int]]:
        matrix = nearest_items(ShrunkCosine(table, shrink), 2)
        return [sorted(matrix[item].indices.tolist()) for item in range(6)]

    assert nearest(unit, 0.0) == nearest(unit, 1000.0)
    assert nearest(raw, 0.0) != nearest(raw, 1000.0)


def test_an_item_without_content_is_similar_to_none(dataset: Dataset) -> None:
    matrix = nearest_items(ShrunkCosine(content_table(dataset, ("text",)), 0.0), 6)
    assert matrix[5].toarray().tolist() == [[0.0] * 6]


def test_normalised_modalities_weigh_alike_and_raw_ones_by_their_scale(dataset: Dataset) -> None:
    names = ("image", "text")
    unit, raw = (content_table(dataset, names, normalise=n) for n in (True, False))
    assert unit[:5, :3].norm(dim=1).tolist() == pytest.approx([1.0] * 5)
    assert unit[:5, 3:].norm(dim=1).tolist() == pytest.approx([1.0] * 5)
    assert torch.equal(raw, torch.cat([dataset.features[name] for name in names], 1))
