"""Large interaction graphs, generated and seeded: a few busy users, a few popular items.

Made to measure time and memory, not to learn from: ten million interactions take seconds. For
a data set with content and a known answer see `planted.py`.

The user of rank r has activity `r^-s`, which makes the degrees a power law with exponent
`1 + 1/s`; items likewise. Users and items belong to communities. A user's interactions stay
within the community for the most part, so that items of one community are each other's
neighbours; the rest go to items of any community.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossalign.errors import ConfigError

USER_EXPONENT = 0.6
"""Degrees of users follow a power law with exponent 2.7; a few thousand at most."""
ITEM_EXPONENT = 0.7
"""Degrees of items follow a power law with exponent 2.4."""
ITEMS_PER_COMMUNITY = 2000
FILLING = 0.25
"""Share of all pairs that may be asked for: beyond it, distinct ones are slow to draw."""


@dataclass(frozen=True)
class PowerLaw:
    """Generated interactions.

    Attributes:
        n_users: number of users.
        n_items: number of items.
        pairs: `(2, n)` int64, rows users and items, all distinct, sorted by user, then item.
        user_community: `(n_users,)` int64.
        item_community: `(n_items,)` int64.
    """

    n_users: int
    n_items: int
    pairs: Tensor
    user_community: Tensor
    item_community: Tensor


def powerlaw(
    n_users: int = 1_000_000,
    n_items: int = 200_000,
    n_interactions: int = 10_000_000,
    *,
    seed: int = 0,
    n_communities: int | None = None,
    community_share: float = 0.7,
) -> PowerLaw:
    """Generate exactly `n_interactions` distinct interactions.

    Args:
        n_users: number of users.
        n_items: number of items.
        n_interactions: number of interactions, at most a quarter of all pairs.
        seed: of everything.
        n_communities: number of communities; None is one for 2000 items.
        community_share: share of interactions drawn from the user's community.

    Raises:
        ConfigError: more interactions, communities or share than there can be.
    """
    groups = max(1, n_items // ITEMS_PER_COMMUNITY) if n_communities is None else n_communities
    if not 0 < n_interactions <= FILLING * n_users * n_items:
        raise ConfigError(
            f"n_interactions must be between 1 and {FILLING:.0%} of all pairs, not {n_interactions}"
        )
    if not 1 <= groups <= n_items or not 0 <= community_share <= 1:
        raise ConfigError("n_communities must be in 1 .. n_items and community_share in 0 .. 1")
    rng = np.random.default_rng(seed)
    user_community = rng.integers(groups, size=n_users)
    # Item ranks are dealt to the communities in turn, so each has popular and rare items.
    item_of_rank = rng.permutation(n_items)
    user_of_rank = rng.permutation(n_users)
    item_community = np.empty(n_items, dtype=np.int64)
    item_community[item_of_rank] = np.arange(n_items) % groups

    keys = np.empty(0, dtype=np.int64)
    drawn = 0
    while (lacking := n_interactions - len(keys)) > 0:
        # Repeats are dropped: as many draws as that took so far, and some to end soon.
        size = int(1.1 * lacking * max(1.0, drawn / max(1, len(keys)))) + 10
        user = user_of_rank[_ranks(rng, n_users, USER_EXPONENT, size)]
        near = _in_community(rng, n_items, groups, user_community[user])
        far = _ranks(rng, n_items, ITEM_EXPONENT, size)
        rank = np.where(rng.random(size) < community_share, near, far)
        keys = np.sort(np.concatenate((keys, user * n_items + item_of_rank[rank])))
        keys = keys[np.flatnonzero(np.diff(keys, prepend=-1))]
        drawn += size
    surplus = rng.choice(len(keys), len(keys) - n_interactions, replace=False)
    pairs = np.stack(np.divmod(np.delete(keys, surplus), n_items))
    return PowerLaw(
        n_users,
        n_items,
        torch.from_numpy(pairs),
        torch.from_numpy(user_community),
        torch.from_numpy(item_community),
    )


def _ranks(rng: np.random.Generator, n: int | np.ndarray, exponent: float, size: int) -> np.ndarray:
    """`(size,)` ranks from 0 below `n`, with density `rank^-exponent`: the inverted integral."""
    return (n * rng.random(size) ** (1 / (1 - exponent))).astype(np.int64)


def _in_community(
    rng: np.random.Generator, n_items: int, groups: int, community: np.ndarray
) -> np.ndarray:
    """Item ranks drawn from the given communities: c, c + groups, c + 2 groups, ..."""
    size = (n_items - community + groups - 1) // groups
    return community + groups * _ranks(rng, size, ITEM_EXPONENT, len(community))
