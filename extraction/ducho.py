"""Vectors that Ducho has extracted: `.../<model>/<layer>/<item>.npy`, one file an item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.content import load_array
from ..errors import DataError
from ..progress import Bar
from .extract import Extraction
from .record import features_file, features_hash, write_features, write_record


def from_ducho(
    folder: Path, out: Path, modality: str, *, file_format: str = "npz", progress: bool = True
) -> Extraction:
    """Put the vectors of one model and layer into one feature file, as they are.

    Args:
        folder: a layer's folder, or one above it if it holds just one layer.
        out: where to write `<modality>_feat.<format>` and its JSON.
        modality: its name.
        file_format: `npz` or `parquet`.
        progress: show a bar.

    Raises:
        DataError: there is no layer, or several, or no file of it can be read.
        ConfigError: other features are in the place of these.
    """
    file, layer = features_file(out, modality, file_format), _layer(folder)
    rows: dict[str, np.ndarray] = {}
    unreadable: list[dict[str, Any]] = []
    for path in Bar(sorted(layer.glob("*.npy")), desc=modality, disable=not progress):
        try:
            rows[path.stem] = _vector(path, next(iter(rows.values()), None))
        except DataError as error:
            unreadable.append({"item": path.stem, "input": path.name, "why": str(error)})
    if not rows:
        raise DataError(f"{layer}: no file can be read; first: {unreadable[0]['why']}")
    item_ids, features = np.array(list(rows)), np.stack(list(rows.values()))
    write_features(file, item_ids, features)
    record = {
        "what": f"{modality}: vectors of Ducho, as they are",
        "modality": modality,
        "origin": {"model": layer.parent.name, "layer": layer.name},
        "features_sha256": features_hash(item_ids, features),
        "items": len(rows),
        "items_without": len(unreadable),
        "dim": features.shape[1],
        "missing": [{"item": each["item"], "why": each["why"]} for each in unreadable],
        "unreadable": unreadable,
    }
    write_record(file, record)
    return Extraction(file, record, made=True)


def _layer(folder: Path) -> Path:
    """The one folder with `.npy` files."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give Ducho's output, .../<model>/<layer>")
    layers = sorted({path.parent for path in folder.rglob("*.npy")})
    if not layers:
        raise DataError(f"{folder}: holds no <item>.npy; give Ducho's output, .../<model>/<layer>")
    if len(layers) > 1:
        names = ", ".join(str(layer.relative_to(folder)) for layer in layers[:5])
        raise DataError(f"{folder}: holds several layers ({names}); give the folder of one")
    return layers[0]


def _vector(path: Path, like: np.ndarray | None) -> np.ndarray:
    """`(dim,)` float32, whatever axes of length one it was written with."""
    values = load_array(path)
    if values.dtype.kind not in "fiu" or not values.size or values.size != max(values.shape):
        raise DataError(f"is {values.dtype} of shape {values.shape}, not one vector")
    vector = values.reshape(-1).astype(np.float32)
    if not np.isfinite(vector).all():
        raise DataError("has values that are not finite")
    if like is not None and vector.shape != like.shape:
        raise DataError(f"has {vector.size} values, others {like.size}")
    return vector
