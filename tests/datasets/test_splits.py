"""Split rules and k-core filtering agree with plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossalign.datasets import DataError, DataOptions, drop_cold_users
from crossalign.datasets.splits import (
    choose_labels,
    chronological_split,
    drawn_by_lot,
    hold_out_last,
    k_core,
    random_split,
    split_pairs,
)

some_pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), min_size=1, max_size=90)


def looped_hold_out(users, rank):
    """MMRec's rule, one user at a time."""
    label = [0] * len(users)
    for user in set(users):
        rows = sorted((r for r in range(len(users)) if users[r] == user), key=lambda r: rank[r])
        if len(rows) < 3:
            continue
        if len(rows) < 10:
            valid, test = rows[-2:-1], rows[-1:]
        else:
            held = rows[len(rows) - int(0.2 * len(rows)) :]
            valid, test = held[: len(held) // 2], held[len(held) // 2 :]
        for row in valid:
            label[row] = 1
        for row in test:
            label[row] = 2
    return label


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=90), st.integers(0, 2**32 - 1))
def test_hold_out_equals_a_loop_over_users(users, seed):
    rank = np.random.default_rng(seed).permutation(len(users))
    assert hold_out_last(np.array(users), rank).tolist() == looped_hold_out(users, rank)


@pytest.mark.parametrize(
    ("n", "counts"),
    [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (9, (7, 1, 1)), (10, (8, 1, 1)),
     (15, (12, 1, 2)), (20, (16, 2, 2)), (34, (28, 3, 3)), (35, (28, 3, 4))],
)  # fmt: skip
def test_random_split_sizes_are_those_of_mmrec(n, counts):
    label = random_split(np.zeros(n, dtype=np.int64), seed=3)
    assert tuple(np.bincount(label, minlength=3)) == counts


def test_random_split_depends_on_the_seed_only():
    users = np.repeat(np.arange(50), 7)
    assert (random_split(users, 1) == random_split(users, 1)).all()
    assert (random_split(users, 1) != random_split(users, 2)).any()


def test_chronological_split_holds_out_the_latest_rows():
    users = np.array([0, 0, 0, 0, 1, 1, 1])
    time = np.array([4.0, 1.0, 3.0, 2.0, 5.0, 6.0, 7.0])
    assert chronological_split(users, time, 0).tolist() == [2, 0, 1, 0, 0, 1, 2]


def test_equal_times_are_drawn_and_counted():
    """Every row of a user is as likely to be held out as another; untied rows are not touched."""
    users, time = np.array([0, 0, 0, 1, 1, 1]), np.array([5, 5, 5, 1, 2, 3])
    labels = [chronological_split(users, time, seed) for seed in range(300)]
    assert all(label[3:].tolist() == [0, 1, 2] for label in labels)
    tested = np.mean([label[:3] == 2 for label in labels], axis=0)
    assert np.abs(tested - 1 / 3).max() < 0.1
    assert drawn_by_lot(users, time, labels[0]) == 3
    assert drawn_by_lot(users, np.arange(6), labels[0]) == 0


def looped_k_core(rows, min_user, min_item):
    rows = list(enumerate(rows))
    while True:
        kept = [
            (n, (u, i))
            for n, (u, i) in rows
            if sum(v == u for _, (v, _) in rows) >= min_user
            and sum(j == i for _, (_, j) in rows) >= min_item
        ]
        if len(kept) == len(rows):
            return [n for n, _ in rows]
        rows = kept


@settings(deadline=None)
@given(some_pairs, st.integers(1, 4), st.integers(1, 4))
def test_k_core_equals_a_loop(rows, min_user, min_item):
    users, items = np.array(rows).T
    kept = np.flatnonzero(k_core(users, items, min_user, min_item))
    assert kept.tolist() == looped_k_core(rows, min_user, min_item)


def test_k_core_iterates():
    """Item 9 falls first, which brings user 0 below two rows, and so on through the chain."""
    users, items = np.array([0, 0, 1, 1]), np.array([9, 1, 1, 2])
    assert not k_core(users, items, 2, 2).any()


def test_rows_of_cold_users_are_dropped_and_counted():
    train = torch.tensor([[0, 2], [0, 0]])
    held_out = torch.tensor([[0, 1, 2, 1], [1, 1, 1, 2]])
    kept, n_dropped = drop_cold_users(train, held_out)
    assert kept.tolist() == [[0, 2], [1, 1]]
    assert n_dropped == 2


def test_a_split_of_cold_users_alone_is_refused():
    users, items = np.array([0, 0, 1]), np.array([0, 1, 2])
    with pytest.raises(DataError, match="here: the test split is empty"):
        split_pairs("here", users, items, np.array([0, 1, 2]))


def test_chronological_needs_times_and_names_must_be_known():
    users = np.zeros(4, dtype=np.int64)
    with pytest.raises(DataError, match="has no times"):
        choose_labels("here", users, DataOptions(split="chronological"))
    with pytest.raises(DataError, match="split 'fold' is unknown here"):
        choose_labels("here", users, DataOptions(split="fold"))
