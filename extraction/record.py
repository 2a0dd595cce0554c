"""The finished features, and the file beside them that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.content import FEATURE_SUFFIXES, read_keyed
from ..errors import ConfigError, DataError, RunError
from ..fileio import atomic_path, read_json, write_text
from ..tensors.later import pd

FORMATS = ("npz", "parquet")


def features_file(folder: Path, modality: str, file_format: str) -> Path:
    """Where the features of a modality go, if nothing else is in their place.

    Raises:
        ConfigError: there are features of this modality that `extract` has not written, or that
            have another format.
    """
    file = folder / f"{modality}_feat.{file_format}"
    for suffix in FEATURE_SUFFIXES:
        other = file.with_suffix(suffix)
        if other.exists() and (other != file or not record_file(file).exists()):
            raise ConfigError(
                f"{other} exists already: move it away, or write elsewhere with --out, or under "
                f"another name, such as my_{modality}=..."
            )
    return file


def record_file(features: Path) -> Path:
    """The JSON beside a feature file."""
    return features.with_suffix(".json")


def write_features(file: Path, item_ids: np.ndarray, features: np.ndarray) -> None:
    """Write features `(n, dim)` keyed by item id, as every data set with this folder reads them."""
    ids = item_ids if item_ids.dtype.kind == "i" else item_ids.astype(str)
    with atomic_path(file) as temporary:
        if file.suffix == ".npz":
            np.savez(temporary, ids=ids, features=features)
        else:
            pd.DataFrame({"item": ids, "features": list(features)}).to_parquet(temporary)


def write_record(features: Path, record: Mapping[str, Any]) -> None:
    """Write what the features are beside them."""
    text = json.dumps(record, indent=2, ensure_ascii=False)
    write_text(record_file(features), text + "\n")


def unchanged(file: Path, made_from: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of features that are whole and were made from just this; else None.

    Args:
        file: the features.
        made_from: values that the record must have.
    """
    if not (file.exists() and record_file(file).exists()):
        return None
    try:
        record = read_json(record_file(file))
        if any(record.get(key) != value for key, value in made_from.items()):
            return None
        ids, features = read_keyed(file)
    except (RunError, DataError):  # damaged: they are made again
        return None
    whole = record.get("features_sha256") == features_hash(ids, features)
    return record if whole else None


def features_hash(item_ids: Iterable[Any], features: np.ndarray) -> str:
    """SHA-256 of ids and float32 values in their order, the same for every file format."""
    digest = hashlib.sha256("\n".join(map(str, item_ids)).encode())
    digest.update(np.ascontiguousarray(features, dtype="<f4").data)
    return digest.hexdigest()
