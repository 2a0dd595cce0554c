"""Cluster quality: do the views of a run fall into the same groups, and are all groups used?

Two kinds of clusterings are scored: k-means (FAISS) of every view on its own, and the codebooks of
cluster-level alignment, where the group of a row is its nearest prototype.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from torch import Tensor

from ..align.base import Alignment
from ..align.cluster import CLALoss
from ..errors import ConfigError
from ..report.text_table import text_table
from ..tensors.functional import unit_rows
from ..tensors.kmeans import kmeans, nearest_centroids
from .views import ROWS_AT_ONCE, Views

SILHOUETTE_SAMPLE = 2000
"""Rows the silhouette is taken on: it compares all pairs."""
RESTARTS = 10
"""Runs of k-means, each from other centroids."""

Labels = Mapping[str, Tensor]
"""View, or `user` -> `(n,)` int64 cluster of each row."""


@dataclass(frozen=True)
class ViewQuality:
    """One view under one clustering."""

    silhouette: float | None
    """Mean silhouette of a sample, -1 to 1; None when it holds fewer than two clusters."""
    usage: float
    """Entropy of the shares of the clusters, divided by its maximum: 1 when all are used alike."""


@dataclass(frozen=True)
class Agreement:
    """Two views of the same items, or users and items over the training pairs."""

    first: str
    second: str
    nmi: float
    """Normalised mutual information, 0 to 1; by chance it is above 0 for many small clusters."""
    ari: float
    """Adjusted Rand index, 1 when equal, 0 by chance."""


@dataclass(frozen=True)
class Clustering:
    """One way of clustering all views."""

    name: str
    n_clusters: int
    views: dict[str, ViewQuality]
    agreement: tuple[Agreement, ...]


@dataclass(frozen=True)
class ClusterProbe:
    """What `probe_clusters` finds."""

    clusterings: tuple[Clustering, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Text lines of at most 80 columns."""
        return [line for clustering in self.clusterings for line in _lines(clustering)]


def probe_clusters(
    views: Views, alignment: Alignment | None = None, *, n_clusters: int = 50, seed: int = 0
) -> ClusterProbe:
    """Cluster every view and compare.

    Args:
        views: of a trained run.
        alignment: its codebooks are probed too, where it has any.
        n_clusters: clusters of k-means.
        seed: of k-means and of the sample for the silhouette.

    Raises:
        ConfigError: there are not more rows than clusters.
    """
    fewest = min(len(views.user), *(int(mask.sum()) for mask in views.present.values()))
    if not 2 <= n_clusters < fewest:
        raise ConfigError(f"{n_clusters} clusters of {fewest} rows: choose 2 .. {fewest - 1}")
    tables = {"user": views.user, **views.items}
    labels = {
        name: kmeans_labels(table, views.present.get(name), n_clusters, seed)
        for name, table in tables.items()
    }
    clusterings = [score_clustering("k-means", views, labels, n_clusters, seed)]
    for name, prototypes, of in _codebooks(alignment, views):
        labels = {view: nearest_prototype(tables[view], prototypes) for view in of}
        clusterings.append(score_clustering(name, views, labels, len(prototypes), seed))
    return ClusterProbe(tuple(clusterings))


def kmeans_labels(table: Tensor, present: Tensor | None, n_clusters: int, seed: int) -> Tensor:
    """Cluster of each row, `(n,)` int64, -1 for rows that are not present.

    The tightest of `RESTARTS` runs, since a single one often ends in a poor local optimum.
    """
    rows = table if present is None else table[present]
    best, least = torch.empty(0, dtype=torch.int64), math.inf
    for start in range(RESTARTS):
        centroids = kmeans(rows, n_clusters, seed=seed + start)
        labels = nearest_centroids(rows, centroids)
        spread = float((rows - centroids[labels]).square().sum())
        if spread < least:
            best, least = labels, spread
    if present is None:
        return best
    return torch.full((len(table),), -1).masked_scatter(present, best)


def nearest_prototype(table: Tensor, prototypes: Tensor) -> Tensor:
    """Prototype of largest inner product with each row, `(n,)` int64."""
    return torch.cat([(rows @ prototypes.T).argmax(dim=1) for rows in table.split(ROWS_AT_ONCE)])


def _codebooks(
    alignment: Alignment | None, views: Views
) -> Iterator[tuple[str, Tensor, tuple[str, ...]]]:
    """Name, `(K, dim)` unit prototypes, and the views that share each codebook."""
    losses = [] if alignment is None else list(alignment.modules())
    for loss in losses:
        if isinstance(loss, CLALoss):
            user_item, modalities = loss.prototypes_user_item, loss.prototypes_modalities
            yield "codebook of users and items", unit_rows(user_item.detach()), ("user", "id")
            yield "codebook of modalities", unit_rows(modalities.detach()), tuple(views.items)


def score_clustering(
    name: str, views: Views, labels: Labels, n_clusters: int, seed: int = 0
) -> Clustering:
    """Quality of each view in `labels`, and agreement of all that can be compared."""
    quality = {}
    for view, own in labels.items():
        table, present = views.user, torch.ones_like(own, dtype=torch.bool)
        if view != "user":
            table, present = views.items[view], views.present[view]
        quality[view] = ViewQuality(
            silhouette(table[present], own[present], seed), usage(own[present], n_clusters)
        )
    agreement = []
    for first, second in itertools.combinations([view for view in labels if view != "user"], 2):
        both = views.both(first, second)
        agreement.append(compare(first, second, labels[first][both], labels[second][both]))
    if "user" in labels:
        users, items = views.pairs
        agreement.append(compare("user", "id", labels["user"][users], labels["id"][items]))
    return Clustering(name, n_clusters, quality, tuple(agreement))


def compare(first: str, second: str, labels: Tensor, others: Tensor) -> Agreement:
    """Agreement of two clusterings of the same rows, `(n,)` each."""
    left, right = labels.numpy(), others.numpy()
    return Agreement(
        first,
        second,
        nmi=float(normalized_mutual_info_score(left, right)),
        ari=float(adjusted_rand_score(left, right)),
    )


def silhouette(table: Tensor, labels: Tensor, seed: int = 0) -> float | None:
    """Mean silhouette of a sample of rows; None where it is not defined."""
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randperm(len(table), generator=generator)[:SILHOUETTE_SAMPLE]
    found = len(labels[sample].unique())
    if not 2 <= found < len(sample):
        return None
    return float(silhouette_score(table[sample].numpy(), labels[sample].numpy()))


def usage(labels: Tensor, n_clusters: int) -> float:
    """Entropy of the shares of `n_clusters` clusters, divided by `log n_clusters`."""
    share = torch.bincount(labels, minlength=n_clusters).double() / len(labels)
    return float(torch.special.entr(share).sum()) / math.log(n_clusters)


def _lines(clustering: Clustering) -> list[str]:
    views = [
        [name, "–" if view.silhouette is None else f"{view.silhouette:.3f}", f"{view.usage:.3f}"]
        for name, view in clustering.views.items()
    ]
    pairs = [
        [f"{pair.first} ~ {pair.second}", f"{pair.nmi:.3f}", f"{pair.ari:.3f}"]
        for pair in clustering.agreement
    ]
    return [
        f"{clustering.name}, {clustering.n_clusters} clusters",
        *text_table([f"{'view':20s}", "silhouette", "usage"], views),
        *(text_table([f"{'agreement':20s}", "       NMI", "  ARI"], pairs) if pairs else []),
        "",
    ]
