"""Missing content, noisy content and noisy feedback, at any ratio, always made from clean data.

What a seed changes at one ratio it also changes at every higher one. Graphs and neighbours derive
from the data set (caches are found by its hash), so they are made anew from what is corrupted.
Validation and test are never touched.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from .controls import with_content
from .dataset import Dataset
from .options import CorruptionFill, DataOptions

CORRUPTION_OPTIONS = ("corruption", "corruption_ratio", "corruption_seed", "corruption_fill")
"""Fields of `DataOptions` that are read here, whatever the layout."""


def apply_corruption(dataset: Dataset, options: DataOptions) -> Dataset:
    """`dataset` as `options` corrupt it; itself if they do not.

    Raises:
        ConfigError: options contradict each other, or there is too little to corrupt.
    """
    kind, ratio, seed = options.corruption, options.corruption_ratio, options.corruption_seed
    if kind == "none" and ratio > 0:
        raise ConfigError("option 'data.corruption_ratio' has no effect without data.corruption")
    if kind != "missing_content" and options.corruption_fill != "mean":
        raise ConfigError("option 'data.corruption_fill' belongs to corruption missing_content")
    if kind == "none" or ratio == 0:
        return dataset
    if kind == "missing_content":
        return lose_content(dataset, ratio, seed, fill=options.corruption_fill)
    if kind == "noisy_content":
        return swap_content(dataset, ratio, seed)
    change = add_feedback if kind == "added_feedback" else delete_feedback
    return change(dataset, ratio, seed)


def lose_content(
    dataset: Dataset, ratio: float, seed: int, *, fill: CorruptionFill = "mean"
) -> Dataset:
    """Take the rows of some items away, in each modality from items of its own.

    Args:
        dataset: with features.
        ratio: share of the items that have the modality, of each modality.
        seed: of the choice of items.
        fill: `mean` puts the mean of the remaining rows there, as MMRec does for missing images;
            `zeros` zeros that count as content; `missing` marks the rows as missing.
    """
    features, missing = {}, dict(dataset.missing)
    for index, (modality, table) in enumerate(_features(dataset).items()):
        order = _order(dataset, modality, np.random.default_rng([seed, index]))
        n_lost = _share(ratio, len(order))
        lost, rest = order[:n_lost], order[n_lost:]
        features[modality] = table.clone()
        features[modality][lost] = table[rest].mean(dim=0) if fill == "mean" else 0.0
        if fill == "missing":
            missing[modality] = _absent(dataset, modality).index_fill(0, lost, True)
    note = f"{ratio:.0%} of the rows of each modality are lost, {fill} in their place"
    return with_content(dataset, features, missing, note)


def swap_content(dataset: Dataset, ratio: float, seed: int) -> Dataset:
    """Overwrite the rows of some items with the clean row of another item.

    Args:
        dataset: with features.
        ratio: share of the items that have the modality, in each modality items of its own.
        seed: of the choice of items, and of whose row each gets.
    """
    features = {}
    for index, (modality, table) in enumerate(_features(dataset).items()):
        rng = np.random.default_rng([seed, index])
        order = _order(dataset, modality, rng)
        if len(order) < 2:
            raise ConfigError(
                f"corruption noisy_content needs two items with '{modality}' in '{dataset.name}'"
            )
        # Steps around the order lead to any item but the one they start from.
        steps = torch.from_numpy(rng.integers(1, len(order), size=len(order)))
        others = order[(torch.arange(len(order)) + steps) % len(order)]
        n_changed = _share(ratio, len(order))
        features[modality] = table.clone()
        features[modality][order[:n_changed]] = table[others[:n_changed]]
    note = f"{ratio:.0%} of the rows of each modality are another item's"
    return with_content(dataset, features, dict(dataset.missing), note)


def add_feedback(dataset: Dataset, ratio: float, seed: int) -> Dataset:
    """Add uniformly random pairs that are in none of the user's splits to the training split.

    Args:
        dataset: the data.
        ratio: pairs to add, as a share of the training pairs.
        seed: of the draws.
    """
    known = torch.cat([dataset.train, dataset.valid, dataset.test], dim=1)
    taken = (known[0] * dataset.n_items + known[1]).numpy()
    users = dataset.train[0].unique().numpy()
    n_pairs = dataset.train.shape[1]
    wanted = round(ratio * n_pairs)
    if wanted > len(users) * dataset.n_items - len(taken):
        raise ConfigError(
            f"corruption added_feedback at ratio {ratio:g} asks for {wanted} pairs, more than "
            f"'{dataset.name}' has left: lower data.corruption_ratio"
        )
    rng = np.random.default_rng(seed)
    added = np.empty(0, dtype=np.int64)
    while len(added) < wanted:  # blocks of one size, so that less is the start of more
        drawn = rng.choice(users, n_pairs) * dataset.n_items
        drawn += rng.integers(dataset.n_items, size=n_pairs)
        added = _distinct(np.concatenate([added, drawn[~np.isin(drawn, taken)]]))
    cells = torch.from_numpy(added[:wanted])
    pairs = torch.stack([cells // dataset.n_items, cells % dataset.n_items])
    note = f"{wanted} random pairs are added to the training split"
    return replace(
        dataset, train=torch.cat([dataset.train, pairs], dim=1), notes=(*dataset.notes, note)
    )


def delete_feedback(dataset: Dataset, ratio: float, seed: int) -> Dataset:
    """Delete random training pairs; every user keeps one, so that the same users are evaluated.

    Args:
        dataset: the data.
        ratio: share of the training pairs.
        seed: of the choice.
    """
    n_pairs = dataset.train.shape[1]
    order = np.random.default_rng(seed).permutation(n_pairs)
    users = dataset.train[0].numpy()[order]
    kept = np.zeros(n_pairs, dtype=bool)
    kept[n_pairs - 1 - np.unique(users[::-1], return_index=True)[1]] = True  # each user's last
    deletable = order[~kept]
    wanted = round(ratio * n_pairs)
    if wanted > len(deletable):
        raise ConfigError(
            f"corruption deleted_feedback at ratio {ratio:g} asks for {wanted} of {n_pairs} pairs, "
            f"but every user keeps one: give at most {len(deletable) / n_pairs:.3f}"
        )
    left = torch.ones(n_pairs, dtype=torch.bool)
    left[torch.from_numpy(deletable[:wanted])] = False
    note = f"{wanted} pairs are deleted from the training split"
    return replace(dataset, train=dataset.train[:, left], notes=(*dataset.notes, note))


def _features(dataset: Dataset) -> dict[str, Tensor]:
    if not dataset.features:
        raise ConfigError(
            f"option 'data.corruption' changes content, but '{dataset.name}' has no features: add "
            "<modality>_feat.npy files or corrupt the feedback"
        )
    return dict(dataset.features)


def _absent(dataset: Dataset, modality: str) -> Tensor:
    return dataset.missing.get(modality, torch.zeros(dataset.n_items, dtype=torch.bool))


def _order(dataset: Dataset, modality: str, rng: np.random.Generator) -> Tensor:
    """The items that have the modality, in random order, int64."""
    present = (~_absent(dataset, modality)).nonzero().squeeze(1)
    return present[torch.from_numpy(rng.permutation(len(present)))]


def _share(ratio: float, n: int) -> int:
    """`ratio` of `n`, but one is always left."""
    return max(min(round(ratio * n), n - 1), 0)


def _distinct(values: np.ndarray) -> np.ndarray:
    """Each value once, where it first stands."""
    return values[np.sort(np.unique(values, return_index=True)[1])]
