"""Changes between two methods of a study, seed by seed and user by user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigError
from ..evaluation.metrics import parse_metric
from ..evaluation.per_user import load_user_metrics
from ..evaluation.significance import Difference, average_seeds, compare_users
from ..report.numbers import Measure, measure
from ..run_files import USERS_FILE
from .methods import Method
from .study import MethodResult


def change(values: Sequence[float], base: Sequence[float]) -> Measure | None:
    """Mean difference, seed by seed, relative to the mean of the base; None if that is zero."""
    alone = measure(base).mean
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
