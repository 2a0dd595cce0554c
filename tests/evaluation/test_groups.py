"""Popularity groups and what is measured in them, against loops over users and items."""

from __future__ import annotations

import pytest
import torch

from crossalign.errors import ConfigError
from crossalign.evaluation.groups import (
    COLD,
    gini,
    group_metrics,
    group_sizes,
    list_statistics,
    popularity_groups,
)


@pytest.fixture
def data(make_dataset):
    """Items 0 to 5 with 0, 1, 1, 2, 3 and 5 training users."""
    train = [(0, 1), (1, 2), (0, 3), (1, 3), (0, 4), (1, 4), (2, 4)]
    train += [(user, 5) for user in range(5)]
    test = [(0, 0), (0, 2), (1, 1), (2, 3), (2, 2), (3, 4), (4, 0), (4, 4)]
    return make_dataset(5, 6, train, [(0, 0)], test)


def test_items_are_cut_into_equal_parts_and_cold_ones_apart(data) -> None:
    groups = popularity_groups(data, 5)
    assert groups.group_of.tolist() == [COLD, 0, 1, 2, 3, 4]
    assert groups.ids == (0, 1, 2, 3, 4, COLD)
    sizes = group_sizes(popularity_groups(data, 2), data, "test")
    assert [(g.name, g.items, g.interactions) for g in sizes] == [
        ("1 of 2", 3, 4),
        ("2 of 2", 2, 8),
        ("cold", 1, 0),
    ]
    assert [(g.held_out, g.users) for g in sizes] == [(4, 3), (2, 2), (2, 2)]


def test_groups_of_equal_interactions_have_fewer_popular_items(data) -> None:
    groups = popularity_groups(data, 2, "interactions")
    assert groups.group_of.tolist() == [COLD, 0, 0, 0, 0, 1]
    assert [g.interactions for g in group_sizes(groups, data, "test")] == [7, 5, 0]


def test_more_groups_than_items_are_refused(data) -> None:
    with pytest.raises(ConfigError, match="do not fill 6 groups"):
        popularity_groups(data, 6)


def test_metrics_of_a_group_count_its_items_only(
    data, reference, ranking, as_representations
) -> None:
    torch.manual_seed(0)
    scores = torch.randn(5, 6, dtype=torch.float64)
    groups = popularity_groups(data, 2)
    found = group_metrics(as_representations(scores), data, "test", groups, [2, 3])
    for group, metrics in zip(groups.ids, found, strict=True):
        per_user: list[dict[str, float]] = []
        for user in range(5):
            seen = {int(i) for u, i in data.train.T.tolist() if u == user}
            relevant = {
                int(i) for u, i in data.test.T.tolist() if u == user and groups.group_of[i] == group
            }
            if relevant:
                ranked = ranking(scores[user].tolist(), seen)
                values = [(k, reference(ranked, relevant, k)) for k in (2, 3)]
                per_user.append({f"{n}@{k}": v for k, ours in values for n, v in ours.items()})
        for name, value in metrics.items():
            assert value == pytest.approx(sum(u[name] for u in per_user) / len(per_user)), name


def test_a_group_without_held_out_items_has_no_metrics(make_dataset, as_representations) -> None:
    data = make_dataset(2, 3, [(0, 1), (1, 1), (0, 2)], [(0, 0)], [(1, 2)])
    groups = popularity_groups(data, 2)
    found = group_metrics(as_representations(torch.rand(2, 3)), data, "test", groups, [1])
    assert [bool(metrics) for metrics in found] == [True, False, False]


def test_lists_are_described_as_loops_do(data, ranking, as_representations) -> None:
    torch.manual_seed(1)
    scores = torch.randn(5, 6)
    groups = popularity_groups(data, 2)
    found = list_statistics(as_representations(scores), data, "test", groups, 2)
    shown: list[int] = []
    means = []
    for user in range(5):
        seen = {int(i) for u, i in data.train.T.tolist() if u == user}
        top = ranking(scores[user].tolist(), seen)[:2]
        shown += top
        means.append(sum(int((data.train[1] == item).sum()) for item in top) / 2)
    counts = [shown.count(item) for item in range(6)]
    pairs = sum(abs(a - b) for a in counts for b in counts)
    assert found.coverage == pytest.approx(len(set(shown)) / 6)
    assert found.popularity == pytest.approx(sum(means) / 5)
    assert found.gini == pytest.approx(pairs / (2 * 6 * sum(counts)))
    for group, share in zip(groups.ids, found.shares, strict=True):
        assert share == pytest.approx(sum(groups.group_of[i] == group for i in shown) / len(shown))


def test_gini_of_equal_and_of_single_counts() -> None:
    assert gini(torch.tensor([3, 3, 3])) == pytest.approx(0)
    assert gini(torch.tensor([0, 0, 0, 8])) == pytest.approx(0.75)
    assert gini(torch.zeros(4, dtype=torch.int64)) == 0
