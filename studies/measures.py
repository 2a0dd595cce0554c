"""Means over the seeds of a study, and changes between two of its methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..evaluation.metrics import parse_metric
from ..evaluation.per_user import USERS_FILE, load_user_metrics
from ..evaluation.significance import Difference, average_seeds, compare_users
from .study import Method, MethodResult


@dataclass(frozen=True)
class Measure:
    """A mean over seeds.

    Attributes:
        mean: the mean.
        spread: sample standard deviation; None for one seed.
    """

    mean: float
    spread: float | None

    @property
    def point(self) -> tuple[float, float]:
        """Mean and spread as plots take them, NaN for no spread."""
        return self.mean, math.nan if self.spread is None else self.spread

    def text(self, digits: int = 4) -> str:
        """Such as `0.1020 ± 0.0011`."""
        spread = "" if self.spread is None else f" ± {self.spread:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


def measure(values: Sequence[float]) -> Measure:
    """Mean and spread of one value per seed."""
    array = np.array(values)
    return Measure(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None)


def change(values: Sequence[float], base: Sequence[float]) -> Measure | None:
    """Mean difference, seed by seed, relative to the mean of the base; None if that is zero."""
    alone = float(np.mean(base))
    if alone == 0:
        return None
    return measure([(a - b) / alone for a, b in zip(values, base, strict=True)])


def percent(found: Measure | None) -> str:
    """Such as `+3.1% ± 0.4%`, and a dash for nothing."""
    if found is None:
        return "–"
    spread = "" if found.spread is None else f" ± {found.spread:.1%}"
    return f"{found.mean:+.1%}{spread}"


def paired(
    method: MethodResult, base: MethodResult, metrics: Sequence[str]
) -> Mapping[str, Difference]:
    """Differences over users, seeds averaged for each user; p values not corrected yet."""
    ours, theirs = (
        average_seeds([load_user_metrics(Path(folder) / USERS_FILE) for folder in result.folders])
        for result in (method, base)
    )
    return compare_users(ours, theirs, metrics)


def chosen_metric(methods: Sequence[Method], metric: str | None) -> str:
    """`metric`, or the recall that is usually shown, if all methods measure it.

    Raises:
        ConfigError: it is unknown, or some method does not measure it.
    """
    cutoffs = set.intersection(*(set(method.config.evaluation.ks) for method in methods))
    if not cutoffs:
        raise ConfigError("the configurations measure at no common cut-off: set evaluation.ks")
    if metric is None:
        return f"recall@{20 if 20 in cutoffs else max(cutoffs)}"
    _, k = parse_metric(metric)
    if k not in cutoffs:
        raise ConfigError(f"metric '{metric}' is not measured: add {k} to evaluation.ks")
    return metric


def refuse_repeats(what: str, values: Sequence[object]) -> None:
    """Raise `ConfigError` if there are no values, or one stands twice."""
    if not values:
        raise ConfigError(f"no {what}: give at least one")
    if len(set(values)) < len(values):
        raise ConfigError(f"{what} {', '.join(map(str, values))}: give each once")
