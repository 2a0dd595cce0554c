"""Recommendation lists: best first, ties by id, nothing excluded, any k."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossalign.errors import ConfigError, RunError
from crossalign.evaluation import Evaluator, recommend


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_loop_reference(ranking, as_representations, data):
    n_users, n_items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    scores = [[data.draw(st.integers(-2, 2)) for _ in range(n_items)] for _ in range(n_users)]
    pair = st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))
    left_out = data.draw(st.sets(pair, max_size=20))
    users = data.draw(st.lists(st.integers(0, n_users - 1), max_size=6))
    k = data.draw(st.integers(1, 12))
    exclude = torch.tensor(sorted(left_out)).T if left_out else None
    ids, best = recommend(
        as_representations(torch.tensor(scores, dtype=torch.float32)),
        torch.tensor(users, dtype=torch.int64),
        k,
        exclude,
        block_users=data.draw(st.sampled_from([None, 1, 2])),
    )
    assert ids.shape == best.shape == (len(users), k)
    for row, user in enumerate(users):
        ranked = ranking(scores[user], {item for owner, item in left_out if owner == user})[:k]
        assert ids[row].tolist() == ranked + [-1] * (k - len(ranked))
        expected = [float(scores[user][item]) for item in ranked]
        assert best[row].tolist() == expected + [-float("inf")] * (k - len(ranked))


def test_agrees_with_the_evaluator(make_dataset):
    """The evaluator's ranks are places in these lists."""
    rng = torch.Generator().manual_seed(0)
    train = [(user, user % 12) for user in range(20)]
    valid = [(user, (user + 5) % 12) for user in range(20)]
    dataset = make_dataset(20, 12, train, valid)
    tables = torch.randn(20, 4, generator=rng), torch.randn(12, 4, generator=rng)
    evaluator = Evaluator(dataset, "valid", ks=(12,))
    ids, _ = recommend(tables, evaluator.users, 12, dataset.train)
    targets = (evaluator.users + 5) % 12
    places = (ids == targets[:, None]).nonzero()[:, 1]
    assert torch.equal(places, evaluator.ranks(tables))


def test_bad_input():
    tables = torch.ones(3, 2), torch.ones(4, 2)
    with pytest.raises(ConfigError, match="k is 0"):
        recommend(tables, torch.tensor([0]), 0)
    for user in (-1, 3):
        with pytest.raises(ConfigError, match=r"user ids must lie in 0 \.\. 2"):
            recommend(tables, torch.tensor([user]), 2)
    tables[1][2, 1] = float("nan")
    with pytest.raises(RunError, match="the representation of item 2 is not finite"):
        recommend(tables, torch.tensor([0]), 2)
