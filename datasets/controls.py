"""Content changed on purpose, after reading.

Controls break the link between items and content; masks take a modality from some items.

Ready item graphs are left out whenever content changes, since they were made from the real one,
and so is the truth of planted data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from .arrays import load_array
from .dataset import Dataset
from .options import ContentKind, DataOptions

CONTROL_OPTIONS = (
    "content",
    "content_seed",
    "mask_ratio",
    "mask_seed",
    "mask_zeros",
    "mask_features",
)
"""Fields of `DataOptions` that are read here, whatever the layout."""


def apply_controls(dataset: Dataset, options: DataOptions) -> Dataset:
    """`dataset` with the content that `options` ask for; itself if they ask for nothing.

    Raises:
        ConfigError: the data set lacks the content that an option changes.
        DataError: a file of re-encoded features is missing or does not fit.
    """
    if options.content != "given":
        dataset = control_content(dataset, options.content, options.content_seed)
    if options.mask_ratio == 0:
        return dataset
    if options.mask_features is not None:
        variants = read_variants(Path(options.mask_features), dataset)
        return replace_content(dataset, variants, options.mask_ratio, options.mask_seed)
    declared = not options.mask_zeros
    return mask_content(dataset, options.mask_ratio, options.mask_seed, declared=declared)


def control_content(dataset: Dataset, content: ContentKind, seed: int) -> Dataset:
    """Content that says nothing of its item, yet looks like the real one in some way.

    Args:
        dataset: with features.
        content: `shuffled` gives every item the row of another one. Each modality has its own
            order: one order for all would keep an item's image and text together, which an
            alignment between modalities could use. Masks of missing rows follow their rows.
            `constant` gives every item the mean row. `random` draws every value from a normal
            distribution with the mean and deviation of its column. These two keep the masks.
        seed: of orders and draws.
    """
    if not dataset.features:
        raise ConfigError(
            f"option 'data.content' is '{content}', but '{dataset.name}' has no features: add "
            "<modality>_feat.npy files or leave it out"
        )
    features, missing = {}, dict(dataset.missing)
    for index, (modality, table) in enumerate(dataset.features.items()):
        rng = np.random.default_rng([seed, index])
        mask = missing.get(modality, torch.zeros(len(table), dtype=torch.bool))
        if content == "shuffled":
            order = torch.from_numpy(rng.permutation(len(table)))
            features[modality] = table[order]
            if modality in missing:
                missing[modality] = mask[order]
        else:
            features[modality] = _redrawn(table, mask, rng, spread=content == "random")
    return with_content(dataset, features, missing, f"content is {content}, not the real one")


def _redrawn(table: Tensor, mask: Tensor, rng: np.random.Generator, *, spread: bool) -> Tensor:
    """Rows with the column means, and the column deviations if `spread`; masked rows stay zero."""
    present = table[~mask]
    redrawn = torch.zeros_like(table)
    if len(present):
        redrawn[~mask] = present.mean(dim=0)
        if spread:
            noise = torch.from_numpy(rng.standard_normal(present.shape, dtype=np.float32))
            redrawn[~mask] += present.std(dim=0, correction=0) * noise
    return redrawn


def lost_modality(n_items: int, ratio: float, n_modalities: int, seed: int) -> Tensor:
    """Which modality each item loses, `(n_items,)` int64, -1 for none (AlignRec, CIKM 2024).

    The first `ratio n_items` items of a fixed order lose exactly one modality each. Order and
    choices depend on the seed alone, so items that lose one at a ratio lose the same one at every
    higher ratio.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_items)
    choice = rng.integers(n_modalities, size=n_items)
    chosen = order[: round(ratio * n_items)]
    lost = np.full(n_items, -1)
    lost[chosen] = choice[chosen]
    return torch.from_numpy(lost)


def mask_content(dataset: Dataset, ratio: float, seed: int, *, declared: bool = True) -> Dataset:
    """Take one modality each from a share of the items, before anything is made of features.

    Args:
        dataset: with at least two modalities, so that no item is left without content.
        ratio: share of the items.
        seed: of the choice of items and modalities.
        declared: mark masked rows as missing, so that graphs and alignments leave them out;
            False leaves zeros that count as content, as AlignRec's code does.
    """
    if len(dataset.features) < 2:
        raise ConfigError(
            f"option 'data.mask_ratio' takes one of several modalities from an item, but "
            f"'{dataset.name}' has {len(dataset.features)}: load two, or give mask_features"
        )
    lost = lost_modality(dataset.n_items, ratio, len(dataset.features), seed)
    features, missing = {}, dict(dataset.missing)
    for index, (modality, table) in enumerate(dataset.features.items()):
        gone = lost == index
        features[modality] = table.masked_fill(gone.unsqueeze(1), 0.0)
        if declared and bool(gone.any()):
            missing[modality] = gone | missing.get(modality, torch.zeros_like(gone))
    return with_content(dataset, features, missing, f"{ratio:.0%} of the items lack one modality")


Variants = Mapping[str, Mapping[str, Tensor]]
"""Unified modality -> modality lost at the encoder's input -> `(n_items, d)` features."""


def replace_content(dataset: Dataset, variants: Variants, ratio: float, seed: int) -> Dataset:
    """The same for unified features: masked items get rows encoded without the lost modality."""
    names = sorted(next(iter(variants.values())))
    lost = lost_modality(dataset.n_items, ratio, len(names), seed)
    features = {}
    for modality, table in dataset.features.items():
        features[modality] = table.clone()
        for index, name in enumerate(names):
            gone = lost == index
            features[modality][gone] = variants[modality][name][gone]
    note = f"{ratio:.0%} of the items are encoded without one modality"
    return with_content(dataset, features, dict(dataset.missing), note)


def read_variants(folder: Path, dataset: Dataset) -> Variants:
    """Read `<modality>_without_<lost>.npy` of every modality of `dataset`.

    Row r belongs to item r of the data set.

    Raises:
        DataError: a modality has no such files, others than another one, or one of other shape.
    """
    variants: dict[str, dict[str, Tensor]] = {}
    for modality, table in dataset.features.items():
        mark = f"{modality}_without_"
        files = {path.stem.removeprefix(mark): path for path in folder.glob(f"{mark}*.npy")}
        if len(files) < 2 or any(files.keys() != other.keys() for other in variants.values()):
            raise DataError(
                f"{folder}: {len(files)} file(s) {mark}<lost>.npy; give one for each modality that "
                "can be lost, the same for every unified modality"
            )
        variants[modality] = {lost: _variant(path, table) for lost, path in files.items()}
    if not variants:
        raise ConfigError(
            f"option 'data.mask_features' needs features, but '{dataset.name}' has none: name the "
            "unified modality in data.modalities"
        )
    return variants


def _variant(path: Path, table: Tensor) -> Tensor:
    values = load_array(path)
    if values.shape != tuple(table.shape) or values.dtype.kind != "f":
        raise DataError(
            f"{path}: is {values.dtype} of shape {values.shape}, but it stands in for features of "
            f"shape {tuple(table.shape)}; encode the same items with the same encoder"
        )
    return torch.from_numpy(values).to(table.dtype)


def with_content(
    dataset: Dataset, features: dict[str, Tensor], missing: dict[str, Tensor], note: str
) -> Dataset:
    """`dataset` with other content; ready graphs and the planted truth are of the real one."""
    return replace(
        dataset,
        features=features,
        missing=missing,
        item_graphs={},
        truth=None,
        notes=(*dataset.notes, note),
    )
