"""Replay: an epoch has all new pairs, and as many known ones as asked, others every time."""

from __future__ import annotations

import pytest
import torch

from crossalign.datasets.planted import planted
from crossalign.errors import ConfigError
from crossalign.graphs import build_graph
from crossalign.models import LightGCN
from crossalign.training import TrainingOptions
from crossalign.training.replay import make_replay
from crossalign.training.steps import make_steps
from crossalign.training.trained import Trained

BLOCKS = {"sampling": "blocks", "fanout": 3, "lazy_embeddings": False}


def test_new_pairs_are_always_there_and_known_ones_are_drawn() -> None:
    seen = torch.arange(100) % 4 > 0
    replay = make_replay(TrainingOptions(replay=0.4), seen)
    assert replay is not None
    rng = torch.Generator().manual_seed(0)
    first, second = replay.draw(rng), replay.draw(rng)
    for drawn in (first, second):
        assert len(drawn) == len(drawn.unique()) == 25 + 10
        assert set((~seen).nonzero().flatten().tolist()) <= set(drawn.tolist())
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("per_new", "n"), [(0.0, 25), (3.0, 100), (50.0, 100)])
def test_no_more_known_pairs_than_there_are(per_new: float, n: int) -> None:
    replay = make_replay(TrainingOptions(replay=per_new), torch.arange(100) % 4 > 0)
    assert replay is not None
    assert len(replay.draw(torch.Generator().manual_seed(0))) == n


def test_all_pairs_where_none_is_new_or_nothing_is_asked_for() -> None:
    assert make_replay(TrainingOptions(replay=1.0), torch.ones(5, dtype=torch.bool)) is None
    assert make_replay(TrainingOptions(), torch.zeros(5, dtype=torch.bool)) is None


def test_without_an_earlier_run_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="--from"):
        make_replay(TrainingOptions(replay=1.0), None)


@pytest.mark.parametrize("sampling", [{}, BLOCKS])
def test_steps_train_on_the_pairs_of_the_epoch_alone(sampling, monkeypatch) -> None:
    data = planted(60, 40, seed=0)
    seen = torch.arange(data.train.shape[1]) % 3 > 0
    options = TrainingOptions(batch_size=64, replay=0.5, **sampling)
    trained = Trained(LightGCN(build_graph(data), {}, dim=4, n_layers=2), None, {})
    steps = make_steps(trained, data, options, 0, seen)
    met = []

    def remember(batch, *_):
        met.append(torch.stack((batch.users, batch.items)))
        return {"loss": torch.zeros((), requires_grad=True)}

    if sampling:
        monkeypatch.setattr(steps, "of_batch", _Remembering(steps.of_batch, met))
    else:
        monkeypatch.setattr(trained.backbone, "batch_loss", remember)
    for _ in steps.losses(1, torch.Generator().manual_seed(0)):
        pass
    n_new = int((~seen).sum())
    keys = torch.cat(met, 1)
    keys = keys[0] * data.n_items + keys[1]
    every = data.train[0] * data.n_items + data.train[1]
    assert len(keys) == len(keys.unique()) == n_new + round(0.5 * n_new)
    assert torch.isin(every[~seen], keys).all()
    assert torch.isin(keys, every).all()


class _Remembering:
    """The losses of blocks, of which it keeps the pairs; negatives must not be a user's items."""

    def __init__(self, inner, met):
        self.inner, self.met = inner, met

    def seeds(self, batch):
        return self.inner.seeds(batch)

    def __call__(self, batch, view):
        self.met.append(torch.stack((batch.users, batch.items)))
        assert (batch.negatives >= 0).all()
        return self.inner(batch, view)
