"""Splitting rules, k-core filtering, and leaving out users who were never trained on."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .options import DataOptions

TRAIN, VALID, TEST = 0, 1, 2
LABELS = {"train": TRAIN, "valid": VALID, "test": TEST}
HOLD_OUT_FIFTH_FROM = 10  # rows a user needs before a fifth of them is held out
BY_TIME = ("chronological", "global_time")
"""Rules that need times."""
VALID_FROM, TEST_FROM = 0.8, 0.9  # shares of all rows that come before, in the split by one time


def choose_labels(
    where: object,
    users: np.ndarray,
    options: DataOptions,
    *,
    given: np.ndarray | None = None,
    time: np.ndarray | None = None,
) -> np.ndarray:
    """Labels `(n,)` by `options.split`, or all `TRAIN` where nothing is to be held out.

    Args:
        where: the source, for messages.
        users: `(n,)` user numbers from 0.
        options: `split`, `split_seed` and `hold_out` are used. With times, rows of one user and
            time are ordered by a draw.
        given: `(n,)` labels that the data bring, for `auto` and for named columns.
        time: `(n,)` times, for `chronological` and `global_time`.

    Raises:
        DataError: the split asked for needs what the data do not bring.
    """
    if not options.hold_out:
        return np.full(len(users), TRAIN)
    if options.split in BY_TIME:
        if time is None:
            raise DataError(f"{where}: has no times; choose another split than {options.split}")
        if options.split == "global_time":
            return global_time_split(time)
        seed = None if options.row_order == "file" else options.split_seed
        return chronological_split(users, time, seed)
    if options.split == "random" or (options.split == "auto" and given is None):
        return random_split(users, options.split_seed)
    if given is None:
        raise DataError(
            f"{where}: split '{options.split}' is unknown here; choose auto, random, "
            "chronological or global_time"
        )
    return given


def random_split(users: np.ndarray, seed: int) -> np.ndarray:
    """MMRec's rule: the rows of each user in random order, the last ones held out.

    See `hold_out_last` for how many. Returns `(n,)` labels `TRAIN`, `VALID` or `TEST`.
    """
    return hold_out_last(users, np.random.default_rng(seed).permutation(len(users)))


def chronological_split(users: np.ndarray, time: np.ndarray, seed: int | None) -> np.ndarray:
    """The latest rows of each user are held out, test after validation.

    Ties go by a draw, or without a seed by the order of rows.
    """
    n = len(users)
    draw = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    rank = np.empty(len(users), dtype=np.int64)
    rank[np.lexsort((draw, time))] = np.arange(len(users))
    return hold_out_last(users, rank)


def global_time_split(time: np.ndarray) -> np.ndarray:
    """Two moments for all users: rows from the first on validate, from the second on test.

    A tenth of all rows, or a little more, lies after each: rows of one time stay together, so that
    no draw is needed. What a model learns from is then never later than what it is tested on.
    """
    in_order = np.sort(time)
    moments = in_order[[int(share * len(time)) for share in (VALID_FROM, TEST_FROM)]]
    return np.searchsorted(moments, time, side="right")


def split_rule(options: DataOptions, *, given: bool) -> str:
    """How rows come into their splits, in words; `given` where the data bring labels."""
    if not options.hold_out:
        return "nothing is held out (data.hold_out=false)"
    name, seed = options.split, f"data.split_seed={options.split_seed}"
    if name == "chronological":
        ties = "data.row_order=file" if options.row_order == "file" else seed
        return f"the latest rows of each user are held out (data.split={name}, ties by {ties})"
    if name == "global_time":
        return f"one time for all users, the latest rows are held out (data.split={name})"
    if name == "random" or not given:
        return f"random rows of each user are held out, MMRec's rule (data.split={name}, {seed})"
    swapped = ", validation and test swapped" if options.swap_valid_test else ""
    return f"as the data bring it (data.split={name}){swapped}"


def drawn_by_lot(users: np.ndarray, time: np.ndarray, label: np.ndarray) -> int:
    """Rows of a user and time whose rows went to several splits, so that a draw decided."""
    order = np.lexsort((label, time, users))
    keys = np.stack([users[order], np.unique(time, return_inverse=True)[1][order]])
    first = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(users)) - 1
    several = label[order][starts] != label[order][ends]
    return int((ends - starts + 1)[several].sum())


def hold_out_last(users: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Labels for `(n,)` rows, holding out the rows of highest rank of each user.

    A user with 3 to 9 rows gives the last to test and the one before to validation. From 10 rows
    on, a fifth is held out (rounded down), the later half of it, rounded up, for test. A user
    with one or two rows stays in training whole, where MMRec's rule (meant for 5-core data) would
    leave nothing to train on.

    Args:
        users: `(n,)` user numbers from 0.
        rank: `(n,)` distinct positions in the order that decides.
    """
    order = np.lexsort((rank, users))
    counts = np.bincount(users)
    ends = np.cumsum(counts)
    sorted_users = users[order]
    from_end = ends[sorted_users] - 1 - np.arange(len(users))
    held = np.where(counts >= HOLD_OUT_FIFTH_FROM, counts // 5, np.where(counts >= 3, 2, 0))
    test = held - held // 2
    label = np.full(len(users), TRAIN)
    label[order[from_end < held[sorted_users]]] = VALID
    label[order[from_end < test[sorted_users]]] = TEST
    return label


def k_core(users: np.ndarray, items: np.ndarray, min_user: int, min_item: int) -> np.ndarray:
    """`(n,)` bool: rows left after dropping rare users and items until nothing changes.

    Args:
        users: `(n,)` user numbers from 0.
        items: `(n,)` item numbers from 0.
        min_user: rows a user needs to stay.
        min_item: rows an item needs to stay.
    """
    keep = np.ones(len(users), dtype=bool)
    while True:
        of_user = np.bincount(users[keep], minlength=users.max(initial=0) + 1)
        of_item = np.bincount(items[keep], minlength=items.max(initial=0) + 1)
        still = keep & (of_user[users] >= min_user) & (of_item[items] >= min_item)
        if still.sum() == keep.sum():
            return keep
        keep = still


def drop_cold_users(train: Tensor, held_out: Tensor) -> tuple[Tensor, int]:
    """Leave out the held-out rows of users without a training row.

    Args:
        train: `(2, n)` training pairs.
        held_out: `(2, m)` validation or test pairs.

    Returns:
        The kept pairs `(2, <= m)` and the number of rows left out.
    """
    kept = held_out[:, torch.isin(held_out[0], train[0])]
    return kept, held_out.shape[1] - kept.shape[1]


class SplitFields(TypedDict):
    """The fields of a `Dataset` that a split fills."""

    train: Tensor
    valid: Tensor
    test: Tensor
    dropped: dict[str, int]
    also_seen: Tensor


def split_pairs(
    where: object, users: np.ndarray, items: np.ndarray, label: np.ndarray
) -> SplitFields:
    """Split labelled rows, leaving out the held-out rows of users without a training row.

    Rows may all be training rows: then nothing is held out.

    Raises:
        DataError: a split is empty beside one that is not; `where` names the source.
    """
    pairs = torch.from_numpy(np.stack([users, items]).astype(np.int64))
    splits = {name: pairs[:, torch.from_numpy(label == value)] for name, value in LABELS.items()}
    valid, cold_valid = drop_cold_users(splits["train"], splits["valid"])
    test, cold_test = drop_cold_users(splits["train"], splits["test"])
    held_out = torch.cat([splits["valid"], splits["test"]], dim=1)
    cold = ~torch.isin(held_out[0], splits["train"][0])
    for name, kept in (("train", splits["train"]), ("valid", valid), ("test", test)):
        if kept.shape[1] == 0 and (label != TRAIN).any():
            raise DataError(
                f"{where}: the {name} split is empty; give rows of all three splits, by users who "
                "have a training row, choose another data.split, or give training rows alone"
            )
    return SplitFields(
        train=splits["train"],
        valid=valid,
        test=test,
        dropped={"valid": cold_valid, "test": cold_test},
        also_seen=held_out[:, cold],
    )
