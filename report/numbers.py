"""Numbers and names as people write them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

METRIC_LABELS: Mapping[str, str] = {
    "recall": "Recall",
    "ndcg": "NDCG",
    "precision": "Precision",
    "map": "MAP",
    "hit": "Hit rate",
    "mrr": "MRR",
}
"""Metric key -> label, in the order of the tables."""


def metric_label(key: str) -> str:
    """`recall@20` as people write it, `Recall@20`."""
    name, at, k = key.partition("@")
    return METRIC_LABELS.get(name, name) + at + k


def number(value: float, digits: int = 4) -> str:
    """`value` with `digits` decimals, zero without a sign; a dash where there is no number."""
    return f"{round(value, digits) + 0.0:.{digits}f}" if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@dataclass(frozen=True)
class Measure:
    """A mean over seeds.

    Attributes:
        mean: the mean; NaN where there is no value.
        spread: sample standard deviation; None for fewer than two seeds.
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
    if not values:
        return Measure(math.nan, None)
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Measure(mean, None)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Measure(mean, math.sqrt(variance))
