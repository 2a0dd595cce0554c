"""Unified features as files that `data.features` and `data.mask_features` read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..errors import ConfigError
from ..fileio import atomic_path
from .encode import encode
from .multiway import MultimodalEncoder


def require_writable(file: Path, dataset: Dataset) -> None:
    """Refuse a file that could not hold the features of the items of `dataset`.

    Raises:
        ConfigError: it is neither `.npy` nor `.npz`, or `.npy` for items with ids of their own.
    """
    if file.suffix not in (".npy", ".npz"):
        raise ConfigError(f"{file}: unified features are written as .npy or .npz; name it so")
    if file.suffix == ".npy" and dataset.item_ids is not None:
        raise ConfigError(
            f"{file}: the items of '{dataset.name}' have ids of their own, which a .npy cannot "
            "hold: name an .npz"
        )


def write_unified(file: Path, dataset: Dataset, unified: Tensor) -> None:
    """Write the features of all items: rows in id order (`.npy`), or keyed by item id (`.npz`).

    An `.npz` leaves out items that have no modality, so that they count as missing; a `.npy` holds
    the CLS of nothing for them.

    Args:
        file: checked by `require_writable`.
        dataset: the items.
        unified: `(n_items, dim)`.
    """
    with atomic_path(file) as temporary:
        if file.suffix == ".npy":
            np.save(temporary, unified.numpy())
            return
        ids = np.arange(dataset.n_items) if dataset.item_ids is None else dataset.item_ids
        ids = ids if ids.dtype.kind == "i" else ids.astype(str)
        known = ~without_content(dataset).numpy()
        np.savez(temporary, ids=ids[known], features=unified.numpy()[known])


def without_content(dataset: Dataset) -> Tensor:
    """`(n_items,)` bool, True for items that lack every modality."""
    none = torch.zeros(dataset.n_items, dtype=torch.bool)
    return torch.stack([dataset.missing.get(m, none) for m in dataset.modalities]).all(0)


def write_variants(
    folder: Path, name: str, encoder: MultimodalEncoder, dataset: Dataset
) -> Iterator[Path]:
    """Write `<name>_without_<modality>.npy` for every modality, hidden at the encoder's input.

    Args:
        folder: made if absent.
        name: name of the unified modality.
        encoder: a pre-trained encoder.
        dataset: the items; row r belongs to item r.

    Yields:
        The files written.
    """
    every = torch.ones(dataset.n_items, dtype=torch.bool)
    for lost in encoder.modalities:
        file = folder / f"{name}_without_{lost}.npy"
        unified = encode(encoder, dataset.features, dataset.missing, drop={lost: every})
        with atomic_path(file) as temporary:
            np.save(temporary, unified.numpy())
        yield file
