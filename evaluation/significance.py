"""Is one method better than another? Paired over users, with the seeds averaged for each user.

The users of a test split are the sample. Runs with other seeds rank the same users, so they are no
further sample: each user's metric is averaged over the seeds first. What a test says holds for
other users of the same kind, not for other seeds; the spread over seeds stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ..errors import RunError
from .per_user import UserMetrics

RESAMPLES = 2000
"""Draws of the bootstrap."""
CONFIDENCE = 0.95
DECIMALS = 6
"""Of differences that the signed-rank test ranks; metrics are stored in single precision."""


@dataclass(frozen=True)
class Difference:
    """A method minus its base in one metric.

    Attributes:
        mean: mean difference over the users.
        low: lower end of its 95 % confidence interval, by bootstrap over users.
        high: upper end.
        n_users: number of users.
        t_test: p value of the two-sided paired t-test.
        wilcoxon: p value of the two-sided Wilcoxon signed-rank test.
    """

    mean: float
    low: float
    high: float
    n_users: int
    t_test: float
    wilcoxon: float

    @property
    def p_value(self) -> float:
        """The larger of the two p values: a difference has to convince both tests."""
        return max(self.t_test, self.wilcoxon)


def average_seeds(runs: Sequence[UserMetrics]) -> UserMetrics:
    """Each user's mean over runs of one method; metrics that not all runs have are left out.

    Raises:
        RunError: the runs were evaluated on different users.
    """
    users = runs[0].users
    if not all(np.array_equal(users, run.users) for run in runs):
        raise RunError("the runs were evaluated on different users: compare runs of one split")
    shared = [name for name in runs[0].values if all(name in run.values for run in runs)]
    means = {name: np.mean([run.values[name] for run in runs], axis=0) for name in shared}
    return UserMetrics(users, means)


def compare_users(
    method: UserMetrics,
    base: UserMetrics,
    metrics: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Differences of a method from its base, paired by user.

    Args:
        method: of `average_seeds`.
        base: likewise, on the same users.
        metrics: which ones; those that either side lacks are left out.
        resamples: draws of the bootstrap.
        seed: its seed.

    Raises:
        RunError: the two were evaluated on different users.
    """
    if not np.array_equal(method.users, base.users):
        raise RunError(
            "a method and its base were evaluated on different users: compare runs of one split"
        )
    shared = [name for name in metrics if name in method.values and name in base.values]
    if not shared:
        return {}
    differences = np.stack([method.values[n] - base.values[n] for n in shared], axis=1)
    low, high = _bootstrap(differences, resamples, seed)
    return {
        name: Difference(
            mean=float(column.mean()),
            low=float(low[index]),
            high=float(high[index]),
            n_users=len(column),
            t_test=_t_test(column),
            wilcoxon=_wilcoxon(column),
        )
        for index, (name, column) in enumerate(zip(shared, differences.T, strict=True))
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """P values after Holm's step-down correction (1979), in the order given.

    The i-th smallest of n is multiplied by n - i + 1, made no smaller than the one before, and
    cut at one.
    """
    corrected = [0.0] * len(p_values)
    running = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, (len(p_values) - place) * p_values[index])
        corrected[index] = min(running, 1.0)
    return corrected


def correct(differences: Mapping[tuple[str, ...], Difference]) -> dict[tuple[str, ...], Difference]:
    """The same differences with p values corrected over all of them, each test by itself."""
    t_tests = holm([found.t_test for found in differences.values()])
    wilcoxons = holm([found.wilcoxon for found in differences.values()])
    return {
        key: replace(found, t_test=t_test, wilcoxon=wilcoxon)
        for (key, found), t_test, wilcoxon in zip(
            differences.items(), t_tests, wilcoxons, strict=True
        )
    }


def _t_test(differences: np.ndarray) -> float:
    """Two-sided paired t-test; 1 where no two users differ or there is one user only."""
    if len(differences) < 2 or not differences.any():
        return 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _wilcoxon(differences: np.ndarray) -> float:
    """Two-sided signed-rank test, zeros left out (Wilcoxon's own rule); 1 where all are zero.

    Differences are rounded first: equal ones that sums left a few bits apart are ties, not ranks.
    """
    differences = differences.round(DECIMALS)
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="wilcox").pvalue)


def _bootstrap(differences: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Ends of the percentile interval of the column means, `(2, n_metrics)`; rows are users."""
    draws = np.random.default_rng(seed)
    n_users = len(differences)
    means = np.empty((resamples, differences.shape[1]))
    for row in means:
        # how often each user is drawn: a product with it is faster than gathering their rows
        times = np.bincount(draws.integers(n_users, size=n_users), minlength=n_users)
        row[:] = times.astype(np.float64) @ differences / n_users
    tail = (1 - CONFIDENCE) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0)
