"""What is in a data set: the statistics table of the papers, degrees, content, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .dataset import SPLITS, Dataset, Intake, ItemGraph

EDGE_BLOCK = 65536  # graph edges compared with the features at a time
COSINE_TOLERANCE = 2e-4  # mean difference that float16 features do not reach


@dataclass(frozen=True)
class Degrees:
    """Training interactions per user or per item."""

    min: int
    median: float
    mean: float
    p90: float
    max: int
    without: int
    """How many have no training row."""


@dataclass(frozen=True)
class Coverage:
    """The content of one modality."""

    dim: int | None
    """Columns of the feature table; None if there is only a ready graph."""
    missing: int
    """Items without features."""
    duplicates: int
    """Rows that repeat an earlier row, missing ones not counted."""
    constant: int
    """Columns with one value throughout."""
    norm_mean: float | None
    """Mean Euclidean norm of the rows present."""
    norm_max: float | None
    """Largest Euclidean norm."""
    graph_edges: int
    """Edges of the ready item-item graph; 0 if there is none."""
    graph_gap: float | None
    """Mean difference between the graph's cosines and those of the features, if it has both."""


@dataclass(frozen=True)
class DatasetReport:
    """What `describe` finds."""

    name: str
    n_users: int
    n_items: int
    interactions: dict[str, int]
    """Split name -> number of interactions."""
    sparsity: float
    """Share of user-item pairs without an interaction."""
    users: Degrees
    items: Degrees
    modalities: dict[str, Coverage]
    warnings: tuple[str, ...]
    intake: Intake | None = None
    """Rows read and left out."""
    split_rule: str = ""
    """How rows came into their splits."""
    unbought_with_content: int = 0
    """Items with content and without a training row."""
    unread: tuple[str, ...] = ()
    """Files in the data folder that were not read."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain numbers, strings, lists and dicts, for JSON."""
        return {**asdict(self), "warnings": list(self.warnings), "unread": list(self.unread)}


def describe(dataset: Dataset, *, unread: Sequence[str] = ()) -> DatasetReport:
    """Count what is in `dataset` and warn of what may spoil results.

    Args:
        dataset: the data.
        unread: files in its folder that were not read, see `unread_files`.
    """
    interactions = {split: dataset.split(split).shape[1] for split in SPLITS}
    names = sorted({*dataset.features, *dataset.item_graphs})
    modalities = {name: _coverage(dataset, name) for name in names}
    users = _degrees(dataset.train[0], dataset.n_users)
    items = _degrees(dataset.train[1], dataset.n_items)
    return DatasetReport(
        name=dataset.name,
        n_users=dataset.n_users,
        n_items=dataset.n_items,
        interactions=interactions,
        sparsity=1 - sum(interactions.values()) / (dataset.n_users * dataset.n_items),
        users=users,
        items=items,
        modalities=modalities,
        warnings=tuple(_warnings(dataset, users, items, modalities)),
        intake=dataset.intake,
        split_rule=dataset.split_rule,
        unbought_with_content=_unbought_with_content(dataset),
        unread=tuple(unread),
    )


def _unbought_with_content(dataset: Dataset) -> int:
    unbought = dataset.train[1].bincount(minlength=dataset.n_items) == 0
    has_content = torch.zeros(dataset.n_items, dtype=torch.bool)
    for modality in dataset.features:
        has_content |= ~dataset.missing.get(modality, torch.zeros_like(has_content))
    return int((unbought & has_content).sum())


def _degrees(ids: Tensor, count: int) -> Degrees:
    degree = np.bincount(ids.numpy(), minlength=count)
    return Degrees(
        min=int(degree.min()),
        median=float(np.median(degree)),
        mean=float(degree.mean()),
        p90=float(np.quantile(degree, 0.9)),
        max=int(degree.max()),
        without=int((degree == 0).sum()),
    )


def _coverage(dataset: Dataset, modality: str) -> Coverage:
    graph = dataset.item_graphs.get(modality)
    edges = 0 if graph is None else graph.edges.shape[1]
    table = dataset.features.get(modality)
    if table is None:
        return Coverage(None, 0, 0, 0, None, None, edges, None)
    missing = dataset.missing.get(modality, torch.zeros(len(table), dtype=torch.bool))
    present = table[~missing]
    norms = present.norm(dim=1)
    return Coverage(
        dim=table.shape[1],
        missing=int(missing.sum()),
        duplicates=len(present) - len(np.unique(_row_bytes(present))),
        constant=int((present == present[:1]).all(dim=0).sum()) if len(present) else 0,
        norm_mean=float(norms.mean()) if len(present) else None,
        norm_max=float(norms.max()) if len(present) else None,
        graph_edges=edges,
        graph_gap=None if graph is None else _graph_gap(graph, table, missing),
    )


def _row_bytes(table: Tensor) -> np.ndarray:
    """`(n,)` raw bytes of the rows: much quicker to compare than rows of numbers."""
    rows = np.ascontiguousarray((table + 0.0).numpy())  # + 0.0 makes -0 and 0 the same
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()


def _graph_gap(graph: ItemGraph, table: Tensor, missing: Tensor) -> float | None:
    """Mean |graph cosine - feature cosine| over edges whose ends have features."""
    usable = ~missing[graph.edges].any(dim=0)
    edges, similarity = graph.edges[:, usable], graph.similarity[usable]
    if not len(similarity):
        return None
    unit = torch.nn.functional.normalize(table, dim=1)
    gap = 0.0
    for start in range(0, len(similarity), EDGE_BLOCK):
        item, neighbour = edges[:, start : start + EDGE_BLOCK]
        cosine = (unit[item] * unit[neighbour]).sum(dim=1)
        gap += float((cosine - similarity[start : start + EDGE_BLOCK]).abs().sum())
    return gap / len(similarity)


def _warnings(
    dataset: Dataset, users: Degrees, items: Degrees, modalities: dict[str, Coverage]
) -> Iterator[str]:
    yield from dataset.notes
    if not dataset.holds_out:
        yield "all rows are training rows: no epoch can be chosen, and nothing measured"
    for split, count in dataset.dropped.items():
        if count:
            yield f"{count} {split} row(s) left out: their users have no training row"
    if users.without:
        yield f"{users.without} user(s) have no training row and are not evaluated"
    if items.without:
        with_content = _unbought_with_content(dataset)
        known = f", {with_content} of them with content" if with_content else ""
        yield f"{items.without} item(s) have no training row{known}"
    trained = _keys(dataset, "train")
    for split in ("valid", "test"):
        seen = int(torch.isin(_keys(dataset, split), trained).sum())
        if seen:
            yield f"{seen} {split} row(s) are training rows too: masked, they can never be found"
    if not dataset.features:
        yield "no features: only backbones and losses that work on ids can be used"
    for name, cover in modalities.items():
        for text in _content_warnings(cover, dataset.n_items):
            yield f"{name}: {text}"


def _content_warnings(cover: Coverage, n_items: int) -> Iterator[str]:
    if cover.dim is None:
        yield "no features, only a ready graph"
        return
    if cover.missing:
        yield f"{cover.missing} of {n_items} items lack it"
    if cover.duplicates:
        yield f"{cover.duplicates} row(s) repeat another row: such items cannot be told apart"
    if cover.constant:
        yield f"{cover.constant} of {cover.dim} columns are constant"
    if cover.graph_gap is not None and cover.graph_gap > COSINE_TOLERANCE:
        yield (
            f"cosines of the ready graph and of the features differ by {cover.graph_gap:.4f} on "
            "average: the graph was built from other or more exact features"
        )


def _keys(dataset: Dataset, split: str) -> Tensor:
    users, items = dataset.split(split)
    return users * dataset.n_items + items
