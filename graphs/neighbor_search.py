"""Neighbours of a data set as its options ask for them: computed, or read from a file."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets.dataset import Dataset
from ..errors import ConfigError
from ..locks import only_writer
from .approximate import approximate_neighbors, recall_at_k
from .best_items import Score, Similarity
from .content_hash import dataset_hash
from .cooccurrence import cooccurrence_neighbors
from .neighbors import Neighbors, file_kind, load_neighbors, save_neighbors
from .options import NeighborKind, NeighborOptions
from .regression import Regression, regressed_neighbors
from .resumable import Work, remove_parts

RECALL_SAMPLE = 2000
"""Items whose exact neighbours an approximate search is compared with."""


def make_neighbors(
    options: NeighborOptions,
    dataset: Dataset,
    *,
    by: NeighborKind = "cooccurrence",
    parts: Path | None = None,
    progress: bool = False,
) -> Neighbors:
    """Neighbours by the training split: from the configured file, or computed.

    Args:
        options: how neighbours are searched, or the file that holds them.
        dataset: the data.
        by: what makes items neighbours where the options do not say.
        parts: folder of finished parts, from which a killed computation goes on.
        progress: show a progress bar.
    """
    options = replace(options, by=options.by or by)
    k = min(options.k, max(1, dataset.n_items - 1))  # an item has no more neighbours than that
    if options.file is not None:
        data_hash = dataset_hash(dataset)
        stored = load_neighbors(options.file, n_items=dataset.n_items, data_hash=data_hash)
        if stored.ids.shape[1] < k:
            raise ConfigError(
                f"{options.file} has {stored.ids.shape[1]} neighbours per item, neighbors.k is "
                f"{options.k}: lower neighbors.k or make the file with -k {options.k}"
            )
        _require_the_same_search(options, stored)
        return Neighbors(stored.ids[:, :k], stored.counts[:, :k])
    work = _work(options, parts, progress)
    if options.by == "regression":
        if options.search != "exact":
            raise ConfigError(
                "neighbors.search=faiss finds common users alone: leave it out with "
                "neighbors.by=regression"
            )
        how = Regression(options.candidates, options.ridge, options.content_weight)
        return regressed_neighbors(dataset, k, how, work)
    find = cooccurrence_neighbors if options.search == "exact" else approximate_neighbors
    return find(**_arguments(replace(options, k=k), dataset), how=work)


def _require_the_same_search(options: NeighborOptions, stored: Neighbors) -> None:
    """Refuse options that are set and that the file was not made with."""
    defaults, about = NeighborOptions(), stored.metadata
    if "score" in about and about.get("by") is None:  # made by earlier versions
        about = {**about, "by": "cooccurrence"}
    for name in ("by", "score", "min_count", "search"):
        value, made_with = getattr(options, name), about.get(name)
        if value != getattr(defaults, name) and made_with not in (None, value):
            raise ConfigError(
                f"{options.file} was made with neighbors.{name}={made_with}, not {value}: leave "
                "the option out, or make the file anew"
            )


def _arguments(options: NeighborOptions, dataset: Dataset) -> dict[str, Any]:
    """Arguments that exact and approximate neighbour search share."""
    return {
        "pairs": dataset.train,
        "n_users": dataset.n_users,
        "n_items": dataset.n_items,
        "k": options.k,
        "similarity": Similarity(options.score, options.min_count),
    }


def _work(options: NeighborOptions, parts: Path | None = None, progress: bool = False) -> Work:
    return Work(options.memory_mib, options.workers, parts, progress)


def write_neighbors(
    file: str | Path, options: NeighborOptions, dataset: Dataset, *, progress: bool = False
) -> Neighbors:
    """Compute co-occurrence neighbours and write them to `file`, with where they come from.

    The recall of an approximate search is measured against exact lists of a sample of items and
    written with them, as `recall`. Finished parts lie beside the file until it is written, so
    that the same call goes on where a killed one stopped.

    Args:
        file: `.npz`, `.csv` or `.parquet`, or a name without an ending for a folder of files that
            can be mapped into memory; see `neighbors`.
        options: how neighbours are searched, or the file that holds them.
        dataset: the data.
        progress: show a progress bar.
    """
    file_kind(file)  # refused before the search, not after
    with only_writer(file):
        return _write(Path(file), options, dataset, progress=progress)


def _write(file: Path, options: NeighborOptions, dataset: Dataset, *, progress: bool) -> Neighbors:
    """`write_neighbors`, by the only process that writes the file."""
    parts = Path(f"{file}.parts")
    options = replace(options, by=options.by or "cooccurrence")
    neighbors = make_neighbors(options, dataset, parts=parts, progress=progress)
    about = {**asdict(options), "dataset": dataset.name}
    if options.search != "exact":
        about["recall"] = _neighbor_recall(neighbors, options, dataset)
    about["data_hash"] = dataset_hash(dataset)
    about["k"] = neighbors.ids.shape[1]
    scores = neighbors.scores
    if scores is None:
        scores = neighbor_scores(neighbors, dataset, options.score)
    neighbors = replace(
        neighbors,
        metadata=about,
        scores=scores,
        item_ids=np.arange(dataset.n_items) if dataset.item_ids is None else dataset.item_ids,
    )
    save_neighbors(file, neighbors)
    remove_parts(parts)
    return neighbors


def neighbor_scores(
    neighbors: Neighbors, dataset: Dataset, score: Score, rows: Tensor | None = None
) -> Tensor:
    """What neighbours are ranked by, `(n_items, k)` float32; 0 where there is none.

    Args:
        neighbors: of the training split of `dataset`.
        dataset: the data.
        score: see `Similarity`.
        rows: the items whose neighbours they are; None is all of them.
    """
    count = neighbors.counts.float()
    if score == "count":
        return count
    degree = dataset.train[1].bincount(minlength=dataset.n_items).float()
    own = degree[:, None] if rows is None else degree[rows, None]
    other = degree[neighbors.ids.clamp(min=0)]
    total = (own * other).sqrt() if score == "cosine" else own + other - count
    return count / total.clamp(min=1)  # there is no neighbour where a degree is 0


def _neighbor_recall(neighbors: Neighbors, options: NeighborOptions, dataset: Dataset) -> float:
    """Share of the true neighbours of `RECALL_SAMPLE` random items that were found."""
    order = torch.randperm(dataset.n_items, generator=torch.Generator().manual_seed(0))
    rows = order[:RECALL_SAMPLE]
    options = replace(options, k=neighbors.ids.shape[1])
    exact = cooccurrence_neighbors(**_arguments(options, dataset), rows=rows, how=_work(options))
    found = Neighbors(neighbors.ids[rows], neighbors.counts[rows])
    scored = (
        replace(lists, scores=_order(lists, dataset, options.score, rows))
        for lists in (found, exact)
    )
    return recall_at_k(*scored)


def _order(neighbors: Neighbors, dataset: Dataset, score: Score, rows: Tensor) -> Tensor:
    """What decides the order of the lists of `rows`, `(n, k)`, but for ids: equal ones tie."""
    if score != "count":
        return neighbor_scores(neighbors, dataset, score, rows)
    # Of equal counts the higher cosine comes first, and a cosine is at most 1.
    return neighbors.counts + neighbor_scores(neighbors, dataset, "cosine", rows).double() / 2
