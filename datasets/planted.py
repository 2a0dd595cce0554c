"""The built-in data set: generated, seeded, and with a known answer for alignment.

Items fall into categories. In each category one modality shows what users like about an item and
the other shows something unrelated. Which one is the `truth` of the data set.

Users `u` and items `z` have latent vectors; the affinity is their scaled inner product. The
carrying modality of an item is `tanh(A z) + noise`, one matrix `A` for all items, so that one
projector can undo it everywhere. The other modality is the same picture of another item's `z`
that was never drawn for anything else: equal in distribution, useless for preferences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .dataset import SPLITS, Dataset
from .options import DataOptions
from .splits import random_split, split_pairs, split_rule

PAPER = "crossalign; directions of alignment are known"
EXPECTS = "'planted' (built in, no files)"
OPTIONS = ("split_seed", "planted_users", "planted_items", "planted_seed")

MODALITIES = {"image": 64, "text": 48}  # name -> number of columns
LATENT_DIM = 24
CATEGORY_SHARE = 0.2  # of an item's latent variance; the rest is its own and needs content
USER_BLOCK = 512  # users drawn at a time: bounds memory to this many rows of n_items


def recognises(path: Path) -> bool:
    """Whether `path` is the name of the built-in data set."""
    return str(path) == "planted"


def read(path: Path, options: DataOptions) -> Dataset:
    """Generate the data set that `options` describe; there is nothing to read at `path`.

    With fewer modalities than were planted there is no truth.

    Raises:
        DataError: a modality is asked for that was not planted.
    """
    data = planted(
        options.planted_users,
        options.planted_items,
        seed=options.planted_seed,
        split_seed=options.split_seed,
    )
    if not options.hold_out:
        data = everything_to_training(data)
    if options.modalities is None:
        return data
    for modality in options.modalities:
        if modality not in MODALITIES:
            found = ", ".join(MODALITIES)
            raise DataError(f"{path}: has no modality '{modality}'; choose from {found}")
    chosen = {modality: data.features[modality] for modality in options.modalities}
    truth = data.truth if tuple(chosen) == data.modalities else None
    return replace(data, features=chosen, truth=truth)


def everything_to_training(data: Dataset) -> Dataset:
    """The same with the rows of all splits in training."""
    rows = torch.cat([data.split(name) for name in SPLITS], dim=1)
    return replace(data, train=rows, valid=rows[:, :0], test=rows[:, :0])


@dataclass(frozen=True)
class World:
    """How users choose and what content shows.

    Attributes:
        n_categories: number of item categories; every other one is carried by `image`.
        interactions_per_user: mean number, at least 5 each, log-normal.
        sharpness: weight of taste against chance: standard deviation of affinity in the
            exponent of the choice.
        popularity: weight of popularity: standard deviation of log-popularity, which gives the
            long tail.
        random_share: share of interactions that are clicks on any item.
        feature_noise: standard deviation of the noise in the features, whose signal has 1.
    """

    n_categories: int = 20
    interactions_per_user: float = 9.0
    sharpness: float = 6.0
    popularity: float = 1.0
    random_share: float = 0.1
    feature_noise: float = 0.3


def planted(
    n_users: int = 4000,
    n_items: int = 2000,
    *,
    seed: int = 0,
    split_seed: int = 999,
    world: World | None = None,
) -> Dataset:
    """Generate interactions and content with a known carrying modality for each item.

    Args:
        n_users: number of users.
        n_items: number of items.
        seed: seed of everything but the split.
        split_seed: seed of MMRec's random split.
        world: how users choose and what content shows; None for the defaults.

    Returns:
        A `Dataset` with `truth`, `(n_items,)` index into `modalities` of the carrying one.
    """
    world = world or World()
    rng = np.random.default_rng(seed)
    category = rng.integers(world.n_categories, size=n_items)
    centres = rng.standard_normal((world.n_categories, LATENT_DIM))
    items = _latent(rng, centres, category)
    truth = category % len(MODALITIES)
    taste = rng.standard_normal((n_users, LATENT_DIM))
    features = {}
    for index, (modality, width) in enumerate(MODALITIES.items()):
        unrelated = _latent(rng, centres, rng.integers(world.n_categories, size=n_items))
        shown = np.where((truth == index)[:, None], items, unrelated)
        features[modality] = _picture(rng, shown, width, world.feature_noise)
    affinity_scale = world.sharpness / np.sqrt(LATENT_DIM)
    pairs = _interactions(
        rng,
        taste * affinity_scale,
        items,
        world.popularity * rng.standard_normal(n_items),
        _activity(rng, n_users, world.interactions_per_user, n_items),
        world.random_share,
    )
    splits = split_pairs("planted", *pairs, random_split(pairs[0], split_seed))
    return Dataset(
        name="planted",
        n_users=n_users,
        n_items=n_items,
        **splits,
        features=features,
        truth=torch.from_numpy(truth),
        split_rule=split_rule(DataOptions(split_seed=split_seed), given=False),
    )


def _latent(rng: np.random.Generator, centres: np.ndarray, category: np.ndarray) -> np.ndarray:
    """Item vectors `(n, LATENT_DIM)` of unit variance, partly their category's."""
    own = rng.standard_normal((len(category), centres.shape[1]))
    return np.sqrt(CATEGORY_SHARE) * centres[category] + np.sqrt(1 - CATEGORY_SHARE) * own


def _picture(rng: np.random.Generator, latent: np.ndarray, width: int, noise: float) -> Tensor:
    """A noisy, mildly non-linear image `(n, width)` float32 of latent vectors."""
    mixing = rng.standard_normal((latent.shape[1], width)) / np.sqrt(latent.shape[1])
    signal = np.tanh(latent @ mixing)
    table = signal / signal.std() + noise * rng.standard_normal(signal.shape)
    return torch.from_numpy(table.astype(np.float32))


def _activity(rng: np.random.Generator, n_users: int, mean: float, n_items: int) -> np.ndarray:
    """Interactions of each user: 5 and a log-normal surplus, at most a quarter of the items."""
    spread = 1.0
    surplus = rng.lognormal(np.log(max(mean - 5.0, 0.1)) - spread**2 / 2, spread, n_users)
    return np.minimum(5 + surplus.astype(np.int64), n_items // 4)


def _interactions(
    rng: np.random.Generator,
    taste: np.ndarray,
    items: np.ndarray,
    log_popularity: np.ndarray,
    activity: np.ndarray,
    random_share: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct items for each user; returns `(n,)` users and items.

    Adding Gumbel noise to log-probabilities and taking the largest draws without replacement.
    """
    clicks = rng.binomial(activity, random_share)
    users, chosen = [], []
    for start in range(0, len(taste), USER_BLOCK):
        block = slice(start, start + USER_BLOCK)
        score = taste[block] @ items.T + log_popularity
        score += rng.gumbel(size=score.shape)
        wanted = _largest(score, activity[block] - clicks[block])
        chance = rng.random(score.shape)
        chance[wanted] = -1.0  # random clicks go to items not chosen yet
        clicked = _largest(chance, clicks[block])
        for rows, columns in (wanted, clicked):
            users.append(start + rows)
            chosen.append(columns)
    return np.concatenate(users), np.concatenate(chosen)


def _largest(score: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the `counts[r]` largest entries of each row r."""
    top = int(counts.max())
    if top == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    columns = np.argpartition(-score, top - 1, axis=1)[:, :top]
    order = np.argsort(-np.take_along_axis(score, columns, axis=1), axis=1, kind="stable")
    columns = np.take_along_axis(columns, order, axis=1)
    rows, ranks = np.nonzero(np.arange(top) < counts[:, None])
    return rows, columns[rows, ranks]
