"""New items, tried: some items are withheld from training altogether."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..errors import DataError
from .dataset import Dataset
from .options import DataOptions
from .splits import TEST, TRAIN, VALID, split_pairs

NEW_ITEMS = "new_items"
"""The `data.split` of this protocol, which every layout knows."""
SHARE = 0.1
"""Of the items that have interactions: half of them validate, half of them test."""


def read_whole(options: DataOptions) -> DataOptions:
    """Options with which a layout reads all rows, to be split here."""
    defaults = DataOptions()
    return replace(options, split=defaults.split, split_seed=defaults.split_seed, hold_out=False)


def withhold_items(data: Dataset, seed: int) -> Dataset:
    """Every row of a tenth of the items held out, every other row trained on.

    Items are drawn by `seed` alone, whatever is trained: the same for every method and run. Their
    content stays, as that of an article which is new in the shop. Held-out rows of users without a
    training row are left out, as everywhere.

    Args:
        data: with all rows in training.
        seed: of the draw.

    Raises:
        DataError: there are too few items for both splits.
    """
    users, items = data.train.numpy()
    known = np.unique(items)
    drawn = np.random.default_rng(seed).permutation(known)[: int(SHARE * len(known))]
    if len(drawn) < 2:
        raise DataError(
            f"{data.name}: {len(known)} items are too few to withhold a tenth for validation and "
            "test; choose another data.split"
        )
    label = np.full(data.n_items, TRAIN)
    label[drawn[::2]], label[drawn[1::2]] = TEST, VALID
    splits = split_pairs(data.name, users, items, label[items])
    splits["also_seen"] = torch.cat([data.also_seen, splits["also_seen"]], dim=1)
    return replace(
        data,
        **splits,
        split_rule=f"all rows of {len(drawn):,} drawn items are held out (data.split={NEW_ITEMS}, "
        f"data.split_seed={seed})",
    )
