"""Features from files outside the data folder, for any layout: `data.features`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from .content import FEATURE_SUFFIXES, Content, read_features
from .dataset import Dataset
from .options import DataOptions


def left_to_the_layout(options: DataOptions) -> DataOptions:
    """`options` for the reader of the data folder, which need not have what other files bring.

    Raises:
        ConfigError: a file is named for a modality that `options.modalities` leaves out.
    """
    if options.modalities is None or not options.features:
        return options
    for modality in options.features:
        if modality not in options.modalities:
            raise ConfigError(
                f"data.features.{modality} has no effect, since data.modalities leaves "
                f"'{modality}' out: add it there, or leave the file out"
            )
    inside = tuple(name for name in options.modalities if name not in options.features)
    return replace(options, modalities=inside)


def add_feature_files(data: Dataset, options: DataOptions) -> Dataset:
    """`data` with the modalities of `options.features` added or replaced; itself if there are none.

    The files are read as those in a data folder (see `read_content`). Features that are replaced
    take their ready item graph and their mask of missing rows with them, and planted data lose
    their truth, which is about the planted modalities alone.

    Raises:
        DataError: a file is missing or broken, or does not fit the items.
    """
    if not options.features:
        return data
    content = Content(
        dict(data.features), dict(data.missing), dict(data.item_graphs), list(data.notes)
    )
    item_ids = np.arange(data.n_items) if data.item_ids is None else data.item_ids
    for modality, file in options.features.items():
        for part in (content.features, content.missing, content.item_graphs):
            part.pop(modality, None)
        path = _existing(modality, file)
        read_features(content, modality, path, item_ids, all_items=data.item_ids is None)
    order = sorted(content.features) if options.modalities is None else options.modalities
    content.features = {m: content.features[m] for m in order if m in content.features}
    return replace(data, **content.fields(), truth=None)


def _existing(modality: str, file: str) -> Path:
    path = Path(file)
    if path.suffix not in FEATURE_SUFFIXES:
        raise DataError(
            f"data.features.{modality} is {file}: give a file {', '.join(FEATURE_SUFFIXES)}"
        )
    if not path.is_file():
        raise DataError(
            f"data.features.{modality} is {file}: no such file; paths are relative to {Path.cwd()}"
        )
    return path
