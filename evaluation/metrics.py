"""Ranking metrics, computed from the ranks of the held-out items and nothing else.

For a user with the held-out items `rel`, `hits(k)` of them among the first `k` places, and 0-based
ranks `r`:

- recall@k = hits(k) / |rel|
- precision@k = hits(k) / k
- ndcg@k = sum over hits of 1 / log2(r + 2), divided by the best possible sum, which has
  min(k, |rel|) hits in the first places
- map@k = sum over hits of (hits up to this one) / (r + 1), divided by min(k, |rel|)
- hit@k = 1 if hits(k) > 0, else 0
- mrr@k = 1 / (r + 1) of the first hit, 0 without a hit

These are the definitions of MMRec (https://github.com/enoche/MMRec), whose tables most
multi-modal recommenders publish; hit and mrr are the usual ones. `k` stays the divisor of precision
where the catalogue is smaller than `k`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError, unknown_name

MOST_DIGITS = 9
"""Of a cut-off."""
METRIC_NAMES = ("recall", "ndcg", "precision", "map", "hit", "mrr")


@dataclass(frozen=True)
class Metrics(Mapping[str, float]):
    """Averages over the evaluated users; reads like a mapping: `metrics["recall@20"]`.

    Attributes:
        scores: metric name such as `recall@20` -> average over users.
        n_users: number of users the averages are over.
        dropped_rows: held-out rows left out because their user has no training row.
    """

    scores: Mapping[str, float]
    n_users: int
    dropped_rows: int = 0

    def __getitem__(self, name: str) -> float:
        return self.scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def to_dict(self) -> dict[str, float | int]:
        """The scores with `n_users` and `dropped_rows`, ready for JSON."""
        return {**self.scores, "n_users": self.n_users, "dropped_rows": self.dropped_rows}


NOTHING_MEASURED = Metrics({}, 0)
"""Of a split without rows."""


def parse_metric(name: str) -> tuple[str, int]:
    """Split a name such as `recall@20` into `("recall", 20)`.

    Raises:
        ConfigError: the metric is unknown or the cut-off is not a positive integer.
    """
    metric, _, cutoff = name.partition("@")
    if metric not in METRIC_NAMES:
        raise unknown_name("metric", metric, METRIC_NAMES)
    if len(cutoff) > MOST_DIGITS:
        raise ConfigError(
            f"metric '{metric}' has a cut-off of {len(cutoff)} digits: no list is so long"
        )
    if not cutoff.isdecimal() or int(cutoff) == 0:
        raise ConfigError(f"metric '{name}' has no cut-off: write it as '{metric}@20'")
    return metric, int(cutoff)


def user_metrics(ranks: Tensor, counts: Tensor, ks: Sequence[int]) -> dict[str, Tensor]:
    """Every metric of every user at every cut-off.

    Args:
        ranks: `(n_targets,)` int64, 0-based rank of each held-out item; those of one user follow
            each other, in any order. A rank of `max(ks)` or more only has to be that large.
        counts: `(n_users,)` int64, held-out items per user, at least one each; sums to n_targets.
        ks: cut-offs.

    Returns:
        metric name -> `(n_users, len(ks))` float64, on the CPU.
    """
    ranks, counts = ranks.cpu(), counts.cpu()
    n_users = len(counts)
    owner = torch.repeat_interleave(torch.arange(n_users), counts)
    by_rank = torch.argsort(ranks, stable=True)
    by_rank = by_rank[torch.argsort(owner[by_rank], stable=True)]  # now by user, then by rank
    ranks = ranks[by_rank]
    start = counts.cumsum(0) - counts
    place = torch.arange(len(ranks)) - start[owner]  # held-out items of the user ranked before
    position = (ranks + 1).double()
    gain = 1.0 / torch.log2(position + 1.0)
    precision_here = (place + 1).double() / position
    reciprocal = 1.0 / position[start]
    most = int(counts.max()) if n_users else 1
    ideal = _ideal_gains(min(max(ks), most))  # no user has more hits, however large the cut-off

    def per_user(values: Tensor) -> Tensor:
        return torch.bincount(owner, weights=values, minlength=n_users)

    columns: dict[str, list[Tensor]] = {name: [] for name in METRIC_NAMES}
    for k in ks:
        hit = (ranks < k).double()
        hits = per_user(hit)
        possible = counts.clamp(max=k)
        any_hit = (hits > 0).double()
        columns["recall"].append(hits / counts)
        columns["ndcg"].append(per_user(hit * gain) / ideal[possible])
        columns["precision"].append(hits / k)
        columns["map"].append(per_user(hit * precision_here) / possible)
        columns["hit"].append(any_hit)
        columns["mrr"].append(any_hit * reciprocal)
    return {name: torch.stack(column, dim=1) for name, column in columns.items()}


def _ideal_gains(k: int) -> Tensor:
    """`(k + 1,)` float64: entry n is the discounted gain of hits at the first n places."""
    gains = 1.0 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64))
    return torch.cat([gains.new_zeros(1), gains.cumsum(0)])


def average(per_user: Mapping[str, Tensor], ks: Sequence[int]) -> dict[str, float]:
    """Averages over users of the result of `user_metrics`, keyed `name@k`."""
    means = {name: values.mean(dim=0).tolist() for name, values in per_user.items()}
    return {f"{name}@{k}": means[name][column] for name in means for column, k in enumerate(ks)}
