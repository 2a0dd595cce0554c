"""Negatives are never positives, follow their distribution exactly, and depend on the seed only."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossalign.errors import DataError
from crossalign.training import NegativeSampler, epoch_batches, generator


def pairs_of(table):
    return torch.tensor([(user, item) for user, items in enumerate(table) for item in items]).T


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_never_a_positive_and_always_seen_in_training(data):
    n_users, n_items = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 9))
    items = st.sets(st.integers(0, n_items - 1), min_size=1, max_size=n_items - 1)
    table = [sorted(data.draw(items)) for _ in range(n_users)]
    seen = set().union(*map(set, table))
    power = data.draw(st.sampled_from([0.0, 0.75, 10.0]))
    pairs = pairs_of(table)
    if any(set(row) == seen for row in table):
        with pytest.raises(DataError, match="no negative item exists"):
            NegativeSampler(pairs, n_users, n_items, power=power)
        return
    sampler = NegativeSampler(pairs, n_users, n_items, power=power)
    users = torch.arange(n_users).repeat(20)
    negatives = sampler.sample(users, generator(data.draw(st.integers(0, 99)), "test"))
    for user, item in zip(users.tolist(), negatives.tolist(), strict=True):
        assert item in seen - set(table[user])


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_distribution(power):
    """Probability is degree^power over the seen items that the user lacks; item 5 is unseen."""
    table = [[0, 1], [0, 2], [0, 3], [0, 4], [0, 1, 2], [6]]
    degree = torch.tensor([5, 2, 2, 1, 1, 0, 1])
    sampler = NegativeSampler(pairs_of(table), 6, 7, power=power)
    n = 60_000
    for user, items in enumerate(table):
        weight = torch.where(degree > 0, degree.double() ** power, 0.0)
        weight[items] = 0.0
        expected = weight / weight.sum()
        negatives = sampler.sample(torch.full((n,), user), generator(user, "test"))
        share = torch.bincount(negatives, minlength=7) / n
        assert (share - expected).abs().max() < 0.01  # about five standard deviations
        assert (share[expected == 0] == 0).all()


@pytest.mark.parametrize("power", [0.0, 4.0])
def test_user_who_lacks_one_item_of_many(power):
    """Rejection alone would take thousands of rounds; the rest is drawn directly."""
    n_items = 3000
    pairs = pairs_of([range(n_items - 1), [n_items - 1]])
    sampler = NegativeSampler(pairs, 2, n_items, power=power)
    negatives = sampler.sample(torch.zeros(50, dtype=torch.int64), generator(0, "test"))
    assert (negatives == n_items - 1).all()


def test_direct_draw_has_the_same_distribution(monkeypatch):
    monkeypatch.setattr("crossalign.training.negatives._MAX_ROUNDS", 0)
    table = [[0, 1], [0, 2], [0, 3], [3, 4]]
    degree = torch.tensor([3, 1, 1, 2, 1]).double()
    sampler = NegativeSampler(pairs_of(table), 4, 5, power=1.0)
    negatives = sampler.sample(torch.zeros(5000, dtype=torch.int64), generator(0, "test"))
    share = torch.bincount(negatives, minlength=5) / 5000
    degree[[0, 1]] = 0
    assert (share - degree / degree.sum()).abs().max() < 0.035


def test_epoch_holds_every_pair_once_with_a_negative(tiny_dataset):
    sampler = NegativeSampler(tiny_dataset.train, 40, 24)
    batches = list(epoch_batches(tiny_dataset.train, sampler, 64, generator(0, "test")))
    assert [len(batch.users) for batch in batches] == [64] * 6 + [16]
    users, items, negatives = (torch.cat(part) for part in zip(*batches, strict=True))
    keys = users * 24 + items
    train_keys = tiny_dataset.train[0] * 24 + tiny_dataset.train[1]
    assert torch.equal(keys.sort().values, train_keys.sort().values)
    assert not torch.equal(keys, train_keys)
    assert not torch.isin(users * 24 + negatives, train_keys).any()


def test_epochs_differ_and_seeds_repeat(tiny_dataset):
    sampler = NegativeSampler(tiny_dataset.train, 40, 24)

    def draw(rng):
        (batch,) = epoch_batches(tiny_dataset.train, sampler, 1000, rng)
        return torch.stack(batch)

    rng = generator(0, "test")
    first, second = draw(rng), draw(rng)
    assert not torch.equal(first, second)
    assert torch.equal(first, draw(generator(0, "test")))
    assert not torch.equal(first, draw(generator(1, "test")))


def test_repeated_pairs_count_once_for_popularity():
    pairs = torch.tensor([[0, 0, 0, 1, 2], [0, 0, 0, 1, 2]])
    sampler = NegativeSampler(pairs, 3, 3, power=1.0)
    negatives = sampler.sample(torch.ones(4000, dtype=torch.int64), generator(0, "test"))
    assert 0.45 < (negatives == 0).double().mean() < 0.55


def test_pairs_of_other_splits_are_drawn_unless_they_must_never_be():
    """Item 2 is held out for user 0, item 5 is nobody's training item."""
    train, held_out = pairs_of([[0, 1], [2], [3]]), torch.tensor([[0, 0], [2, 5]])
    users = torch.zeros(500, dtype=torch.int64)
    drawn = {}
    for never in (None, held_out):
        sampler = NegativeSampler(train, 3, 6, never=never)
        drawn[never is None] = set(sampler.sample(users, generator(0, "test")).tolist())
    assert drawn == {True: {2, 3}, False: {3}}
