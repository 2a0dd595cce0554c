"""Who is recommended: metrics by item popularity, coverage, and how even the lists are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..errors import ConfigError
from .metrics import average, user_metrics
from .ranking import Evaluator
from .recommend import recommend
from .scores import BlockScorer, distinct_pairs

if TYPE_CHECKING:
    from ..datasets.dataset import Dataset
    from ..tensors.representations import Representations

GroupBy = Literal["items", "interactions"]
"""Groups of as many items each, or of as many training interactions each."""

COLD = -1
"""Group of the items without training interactions."""


@dataclass(frozen=True)
class ItemGroup:
    """Items of similar popularity.

    Attributes:
        name: of five groups `1 of 5` for the least popular items up to `5 of 5`, and `cold`.
        items: how many.
        interactions: their training interactions.
        held_out: their rows in the evaluated split.
        users: users with at least one of these rows: those that metrics are averaged over.
    """

    name: str
    items: int
    interactions: int
    held_out: int
    users: int


@dataclass(frozen=True)
class ListStatistics:
    """What the lists of recommendations look like, over the evaluated users.

    Attributes:
        coverage: share of the catalogue that is in at least one list.
        gini: inequality of how often items are recommended: 0 all alike, near 1 always the same.
        popularity: mean over users of the mean training interactions of the items in their list.
        shares: share of all places that each group gets, in the order of the groups.
    """

    coverage: float
    gini: float
    popularity: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Groups:
    """Items of a data set by popularity.

    Attributes:
        group_of: `(n_items,)` int64, 0 for the least popular group, `COLD` for items without
            training interactions.
        popularity: `(n_items,)` int64 training interactions.
        ids: the groups there are, least popular first; `COLD` comes last if there are such items.
    """

    group_of: Tensor
    popularity: Tensor
    ids: tuple[int, ...]


def popularity_groups(dataset: Dataset, n_groups: int = 5, by: GroupBy = "items") -> Groups:
    """Items sorted by training interactions and cut into consecutive groups.

    Items without training interactions are a group of their own. Equally popular items stand in
    the order of their ids, so a cut can run between them.

    Args:
        dataset: its training split counts.
        n_groups: groups beside the cold one.
        by: what the groups have in equal parts.

    Raises:
        ConfigError: there are more groups than items to fill them.
    """
    counts = dataset.train[1].bincount(minlength=dataset.n_items)
    order = counts.argsort(stable=True)
    order = order[counts[order] > 0]
    if by == "items":
        groups = torch.arange(len(order)) * n_groups // len(order)
    else:  # an item belongs where the middle of its interactions falls; doubled, to stay whole
        mass = counts[order]
        groups = (2 * mass.cumsum(0) - mass) * n_groups // (2 * mass.sum())
    if len(groups.unique()) < n_groups:
        raise ConfigError(
            f"{len(order)} items of '{dataset.name}' do not fill {n_groups} groups by {by}: ask "
            "for fewer groups"
        )
    group_of = torch.full((dataset.n_items,), COLD)
    group_of[order] = groups
    cold = (COLD,) if len(order) < dataset.n_items else ()
    return Groups(group_of, counts, (*range(n_groups), *cold))


def group_sizes(groups: Groups, dataset: Dataset, split: str) -> list[ItemGroup]:
    """Name and sizes of every group."""
    users, items = dataset.split(split)
    n_groups = max(groups.ids) + 1
    return [
        ItemGroup(
            name="cold" if group == COLD else f"{group + 1} of {n_groups}",
            items=int((groups.group_of == group).sum()),
            interactions=int(groups.popularity[groups.group_of == group].sum()),
            held_out=int((groups.group_of[items] == group).sum()),
            users=len(users[groups.group_of[items] == group].unique()),
        )
        for group in groups.ids
    ]


def group_metrics(
    scores: Representations | BlockScorer,
    dataset: Dataset,
    split: str,
    groups: Groups,
    ks: Sequence[int],
) -> list[Mapping[str, float]]:
    """Metrics of every group, in the order of `groups.ids`.

    All items are ranked as by `Evaluator`. Only held-out items of the group count, as hits and as
    what could be hit, and only users that have one; a group without any has no metrics.
    """
    evaluator = Evaluator(dataset, split, ks)
    ranks = evaluator.ranks(scores)
    users, items = distinct_pairs(dataset.split(split), dataset.n_items)
    row_of = torch.empty(dataset.n_users, dtype=torch.int64)
    row_of[evaluator.users] = torch.arange(len(evaluator.users))
    rows, order = row_of[users].sort(stable=True)  # the order of the ranks
    group = groups.group_of[items[order]]
    found: list[Mapping[str, float]] = []
    for wanted in groups.ids:
        kept = group == wanted
        counts = rows[kept].unique_consecutive(return_counts=True)[1]
        values = user_metrics(ranks[kept], counts, evaluator.ks) if len(counts) else {}
        found.append(average(values, evaluator.ks))
    return found


def list_statistics(
    scores: Representations | BlockScorer, dataset: Dataset, split: str, groups: Groups, k: int
) -> ListStatistics:
    """What the lists of `k` recommendations of the evaluated users look like.

    Training items of a user are left out of their list.
    """
    users = dataset.split(split)[0].unique()
    ids, _ = recommend(scores, users, min(k, dataset.n_items), exclude=dataset.train)
    listed = ids >= 0
    shown = ids[listed]
    counts = shown.bincount(minlength=dataset.n_items)
    popularity = groups.popularity[ids.clamp_min(0)].double() * listed
    per_group = [int(counts[groups.group_of == group].sum()) for group in groups.ids]
    return ListStatistics(
        coverage=float((counts > 0).double().mean()),
        gini=gini(counts),
        popularity=float((popularity.sum(1) / listed.sum(1).clamp_min(1)).mean()),
        shares=tuple(count / max(len(shown), 1) for count in per_group),
    )


def gini(counts: Tensor) -> float:
    """Gini coefficient of `(n,)` counts, zeros included; 0 where all are equal."""
    ordered = counts.double().sort().values
    n = len(ordered)
    if float(ordered.sum()) == 0:
        return 0.0
    rank = torch.arange(1, n + 1, dtype=torch.float64)
    return float(((2 * rank - n - 1) * ordered).sum() / (n * ordered.sum()))
