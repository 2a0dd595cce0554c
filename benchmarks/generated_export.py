"""An export of any size, of generated vectors, as if a run had been exported."""

from __future__ import annotations

import json
import time
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from crossalign.serving.beside import digests
from crossalign.serving.export import EXACT_UP_TO
from crossalign.serving.layout import ABOUT, FORMAT, INDEX, ITEMS, SEEN, USERS, VECTORS

DIM, HISTORY, GROUPS = 64, 10, 200


def generated_export(
    folder: Path, n_users: int, n_items: int, *, dim: int = DIM, seed: int = 0
) -> Path:
    """Write an export; one that is there already is left as it is.

    Vectors lie around `GROUPS` centres, as trained ones do; the index is of the kind that `export`
    makes for so many items.

    Args:
        folder: where to.
        n_users: users, each with `HISTORY` items.
        n_items: items.
        dim: of vectors.
        seed: of everything.
    """
    if (folder / ABOUT).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(GROUPS, dim)).astype(np.float32)
    user, item = (
        centres[rng.integers(GROUPS, size=n)] + 0.7 * rng.normal(size=(n, dim)).astype(np.float32)
        for n in (n_users, n_items)
    )
    content = {
        "content_map.centre": np.zeros(8, np.float32),
        "content_map.weight": rng.normal(size=(8, dim)).astype(np.float32),
        "content_map.bias": np.zeros(dim, np.float32),
    }
    save_file({"user": user, "item": item, **content}, folder / VECTORS)
    pd.DataFrame({"id": np.arange(n_users), "interactions": HISTORY}).to_csv(
        folder / USERS, index=False
    )
    pd.DataFrame({"id": np.arange(n_items), "interactions": 1, "vector": "trained"}).to_csv(
        folder / ITEMS, index=False
    )
    starts = np.arange(n_users + 1) * HISTORY
    has = np.sort(rng.integers(n_items, size=(n_users, HISTORY)), axis=1)
    np.savez(folder / SEEN, indptr=starts, indices=has.ravel())
    kind = _write_index(folder / INDEX, item)
    about = {
        "format": FORMAT, "run": "generated", "backbone": "generated", "alignment": "none",
        "dataset": f"{n_items} items", "users": n_users, "items": n_items, "dim": dim,
        "test": {}, "content_map": {"modalities": {"text": 8}, "penalty": 1.0},
        "index": {"kind": kind, "metric": "inner product"}, "encoders": [],
        "created": round(time.time()), "sha256": digests(folder),
    }  # fmt: skip
    (folder / ABOUT).write_text(json.dumps(about))
    return folder


def _write_index(file: Path, item: np.ndarray) -> str:
    exact = len(item) <= EXACT_UP_TO
    index = faiss.IndexFlatIP(item.shape[1])
    if not exact:
        index = faiss.IndexHNSWFlat(item.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = 256
    index.add(item)
    faiss.write_index(index, str(file))
    return "flat" if exact else "hnsw"
