"""Who trains on what: every pair once an epoch, and the mean over trainers is that over pairs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crossalign.distributed.cluster import Cluster
from crossalign.distributed.folder import open_parts
from crossalign.distributed.steps import Shares
from crossalign.errors import ConfigError
from crossalign.training import TrainingOptions
from crossalign.training.team import Team


class Alike(Team):
    """One of several trainers, which knows what the others would send."""

    def __init__(self, rank: int, counts: list[int]) -> None:
        super().__init__(rank, len(counts))
        self.counts = torch.tensor(counts)

    def sum(self, tensor):
        return self.counts


def trainers(world, folder, per_host):
    parts, n = open_parts(folder), 2 * per_host
    degree = torch.bincount(world.train[1], minlength=world.n_items)
    ids = torch.from_numpy(np.load(folder / "item_ids.npy"))
    nodes = {"item": SimpleNamespace(data={"degree": degree[ids]})}
    graph = SimpleNamespace(nodes=nodes)

    def clusters(counts):
        teams = [Alike(rank, counts) for rank in range(n)]
        return [Cluster(folder, parts, graph, t, t.rank // per_host) for t in teams]

    own = [cluster.pairs("train").shape[1] for cluster in clusters([0] * n)]
    return clusters(own)


@pytest.mark.parametrize("per_host", [1, 2, 3])
def test_every_pair_once_an_epoch(per_host, world, two_parts):
    options = TrainingOptions(batch_size=90, sampling="blocks")
    found, steps = [], set()
    for cluster in trainers(world, two_parts, per_host):
        shares = list(Shares(cluster, options, seed=0).of_epoch(1))
        steps.add(len(shares))
        for share in shares:
            found += zip(share.batch.users.tolist(), share.batch.items.tolist(), strict=True)
    assert len(steps) == 1
    places = torch.from_numpy(np.load(two_parts / "train.npy"))
    assert sorted(found) == sorted(map(tuple, places.T.tolist()))


def test_the_mean_over_trainers_is_the_mean_over_pairs(world, two_parts):
    """Weights of a step, times the pairs that they stand for, are alike for all pairs."""
    options = TrainingOptions(batch_size=50, sampling="blocks")
    all_shares = [
        list(Shares(c, options, seed=0).of_epoch(1)) for c in trainers(world, two_parts, 2)
    ]
    for step in zip(*all_shares, strict=True):
        n = sum(len(share.batch.users) for share in step)
        per_pair = [share.weight / len(share.batch.users) / len(step) for share in step]
        assert per_pair == [pytest.approx(1 / n)] * len(step)


def test_negatives_are_no_training_pairs_of_their_users(world, two_parts):
    options = TrainingOptions(batch_size=50, sampling="blocks")
    places = torch.from_numpy(np.load(two_parts / "train.npy"))
    known = set(map(tuple, places.T.tolist()))
    for cluster in trainers(world, two_parts, 1):
        for share in Shares(cluster, options, seed=0).of_epoch(1):
            users, _, negatives = share.batch
            assert not known & set(zip(users.tolist(), negatives.tolist(), strict=True))


def test_more_steps_than_pairs_are_refused(world, two_parts):
    cluster = trainers(world, two_parts, 2)[0]
    with pytest.raises(ConfigError, match=r"pairs for \d+ steps: raise training.batch_size"):
        Shares(cluster, TrainingOptions(batch_size=2, sampling="blocks"), seed=0)
