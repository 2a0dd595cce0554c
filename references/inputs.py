"""What the protocols on features start from: one table of item content, and the histories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..errors import ConfigError, unknown_name
from ..tensors.functional import unit_rows
from ..tensors.later import sp

ALL = "all"
"""The features of all modalities side by side."""


def modality_choices(dataset: Dataset) -> list[str]:
    """Each modality by itself, behind `ALL` where there are several."""
    return [*([ALL] if len(dataset.modalities) > 1 else []), *dataset.modalities]


def chosen_modalities(dataset: Dataset, modality: str) -> tuple[str, ...]:
    """The modalities that `modality` names; raises `ConfigError` for one that there is not."""
    if modality == ALL:
        return tuple(dataset.modalities)
    if modality not in dataset.modalities:
        raise unknown_name("modality", modality, (ALL, *dataset.modalities))
    return (modality,)


def content_table(dataset: Dataset, modalities: Sequence[str], *, normalise: bool = True) -> Tensor:
    """Features of several modalities side by side, `(n_items, sum of widths)`.

    Args:
        dataset: its features are read; a missing row is zero.
        modalities: which ones, in this order.
        normalise: scale each modality's rows to length one first, so that none outweighs the
            others by its scale.

    Raises:
        ConfigError: there is no modality, or not this one.
    """
    if not modalities:
        raise ConfigError(
            f"'{dataset.name}' has no features to probe: add <modality>_feat.npy files"
        )
    for name in modalities:
        if name not in dataset.features:
            raise unknown_name("modality", name, dataset.features)
    tables = [dataset.features[name] for name in modalities]
    return torch.cat([unit_rows(table) if normalise else table for table in tables], dim=1)


def history_matrix(dataset: Dataset) -> sp.csr_matrix:
    """Training interactions as ones, `(n_users, n_items)`, float32."""
    users, items = dataset.train.numpy()
    ones = np.ones(len(users), dtype=np.float32)
    return sp.csr_matrix((ones, (users, items)), shape=(dataset.n_users, dataset.n_items))
