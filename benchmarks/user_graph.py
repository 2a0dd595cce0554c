"""The graph between users who share items, against a loop over pairs of users."""

from __future__ import annotations

import torch
from limits import Cost
from plain.user_graph import share_of_pairs, user_graph
from row import Row
from timing import seconds, timed

from crossalign.datasets import Dataset
from crossalign.graphs import cooccurrence_neighbors

K, SAMPLE = 200, 40
BYTES_PER_PAIR = 12
"""A user id and a one are read, a count is added to."""


def user_graph_row(data: Dataset) -> Row:
    """The 200 users who share most items with each user, as the published file holds them."""
    rng = torch.Generator().manual_seed(0)
    sample = torch.randperm(data.n_users, generator=rng)[:SAMPLE].tolist()
    share = share_of_pairs(data.n_users, len(sample))
    degree = torch.bincount(data.train[1])

    def plain() -> float:
        return seconds(lambda: user_graph(data.train, data.n_users, K, sample)) / share

    def ours() -> object:
        return cooccurrence_neighbors(data.train.flip(0), data.n_items, data.n_users, K)

    return Row(
        work="user-user graph",
        plain=plain,
        ours=timed(ours),
        target=50,
        cost=Cost(bytes=float(BYTES_PER_PAIR * degree.square().sum())),
        note=f"plain: {len(sample)} of {data.n_users} users, scaled to all pairs of users",
        published={"baby": 80.0}.get(data.name),
    )
