"""Paired tests over users: what scipy says, hand-made cases, and the correction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crossalign.errors import RunError
from crossalign.evaluation.per_user import UserMetrics
from crossalign.evaluation.significance import (
    Difference,
    _wilcoxon,
    average_seeds,
    compare_users,
    correct,
    holm,
)


def metrics(values: np.ndarray, name: str = "recall@20") -> UserMetrics:
    return UserMetrics(np.arange(len(values)), {name: np.asarray(values, dtype=float)})


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(3)
    base = draws.integers(0, 5, size=60) / 4
    return np.clip(base + draws.integers(-1, 3, size=60) / 4, 0, 1), base


def test_p_values_are_those_of_scipy_on_pairs(pair):
    ours, base = pair
    found = compare_users(metrics(ours), metrics(base), ["recall@20"])["recall@20"]
    assert found.t_test == pytest.approx(stats.ttest_rel(ours, base).pvalue, rel=1e-9)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(ours, base).pvalue, rel=1e-9)
    assert found.p_value == max(found.t_test, found.wilcoxon)


def test_the_t_test_is_the_formula():
    differences = np.array([0.1, 0.3, -0.1, 0.4, 0.2])
    found = compare_users(metrics(differences), metrics(np.zeros(5)), ["recall@20"])["recall@20"]
    t = 0.18 / (np.std(differences, ddof=1) / np.sqrt(5))
    assert found.t_test == pytest.approx(2 * stats.t.sf(t, df=4))


def test_the_signed_rank_test_counts_signs_of_ranks():
    """Five users of five gain, by different amounts: 2 of 2^5 sign patterns are as extreme."""
    gains = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    found = compare_users(metrics(gains), metrics(np.zeros(5)), ["recall@20"])["recall@20"]
    assert found.wilcoxon == pytest.approx(2 / 32)


def test_the_difference_changes_sign_with_the_sides(pair):
    ours, base = map(metrics, pair)
    there = compare_users(ours, base, ["recall@20"])["recall@20"]
    back = compare_users(base, ours, ["recall@20"])["recall@20"]
    assert back.mean == -there.mean
    assert back.p_value == pytest.approx(there.p_value)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_equal_methods_do_not_differ():
    same = metrics(np.array([0.0, 0.5, 1.0]))
    found = compare_users(same, same, ["recall@20"])["recall@20"]
    assert found == Difference(0.0, 0.0, 0.0, 3, 1.0, 1.0)


def test_one_user_proves_nothing():
    found = compare_users(metrics(np.ones(1)), metrics(np.zeros(1)), ["recall@20"])["recall@20"]
    assert found.p_value == 1.0


def test_the_interval_is_that_of_resampled_users(pair):
    """Close to the normal interval, and the same on every call."""
    ours, base = pair
    found = compare_users(metrics(ours), metrics(base), ["recall@20"])["recall@20"]
    half = 1.96 * np.std(ours - base, ddof=1) / np.sqrt(60)
    assert found.low == pytest.approx(found.mean - half, abs=0.2 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.2 * half)
    assert found == compare_users(metrics(ours), metrics(base), ["recall@20"])["recall@20"]
    other = compare_users(metrics(ours), metrics(base), ["recall@20"], seed=1)["recall@20"]
    assert other.low != found.low


def test_seeds_are_averaged_for_each_user():
    runs = [metrics(np.array([0.0, 1.0])), metrics(np.array([1.0, 1.0]))]
    assert average_seeds(runs).values["recall@20"].tolist() == [0.5, 1.0]


def test_metrics_that_one_side_lacks_are_left_out():
    ours, base = metrics(np.ones(3)), metrics(np.ones(3), "ndcg@20")
    assert compare_users(ours, base, ["recall@20", "ndcg@20"]) == {}
    assert average_seeds([ours, base]).values == {}


def test_other_users_are_refused():
    ours, base = metrics(np.ones(3)), metrics(np.ones(4))
    with pytest.raises(RunError, match="different users"):
        compare_users(ours, base, ["recall@20"])
    with pytest.raises(RunError, match="different users"):
        average_seeds([ours, base])


def test_holm_by_hand():
    """Times 4, 3, 2, 1 in ascending order; never below the one before; at most one."""
    assert holm([0.04, 0.01, 0.03, 0.3]) == pytest.approx([0.09, 0.04, 0.09, 0.3])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_each_test_is_corrected_by_itself():
    differences = {
        ("a",): Difference(0.1, 0.0, 0.2, 9, t_test=0.01, wilcoxon=0.04),
        ("b",): Difference(0.1, 0.0, 0.2, 9, t_test=0.02, wilcoxon=0.01),
    }
    corrected = correct(differences)
    assert [d.t_test for d in corrected.values()] == [0.02, 0.02]
    assert [d.wilcoxon for d in corrected.values()] == [0.04, 0.02]
    assert corrected["a",].mean == 0.1


def test_the_signed_rank_test_does_not_rank_rounding_noise() -> None:
    """Differences that sums left a few bits apart are ties, as exact ones are."""
    exact = np.repeat([0.1, -0.1, 0.2, 0.0], [30, 20, 5, 40])
    noise = np.random.default_rng(0).uniform(-1e-9, 1e-9, exact.size)
    assert _wilcoxon(exact + noise) == _wilcoxon(exact)
