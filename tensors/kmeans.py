"""k-means of the rows of a table, by FAISS in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .faiss_import import import_faiss


@torch.no_grad()
def kmeans(
    rows: Tensor,
    n_clusters: int,
    *,
    seed: int,
    n_iterations: int = 25,
    start: Tensor | None = None,
    spherical: bool = False,
) -> Tensor:
    """Centroids of the rows.

    Args:
        rows: `(n, dim)`, on any device.
        n_clusters: clusters k; `n` if there are fewer rows.
        seed: of the first choice, of the sample of a large table, and of refilled clusters.
        n_iterations: rounds of assignment and mean.
        start: `(k, dim)` first centroids, which keep their numbers; by default some of the rows.
        spherical: assign by inner product, and scale centroids to length one in every round.

    Returns:
        `(k, dim)`, of the device and type of `rows`.

    Raises:
        CrossalignError: FAISS is not installed.
    """
    faiss = import_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    n, dim = rows.shape
    fit = faiss.Kmeans(
        dim,
        min(n_clusters, n),
        niter=n_iterations,
        seed=seed,
        spherical=spherical,
        min_points_per_centroid=1,
    )
    fit.train(_for_faiss(rows), init_centroids=None if start is None else _for_faiss(start))
    return torch.from_numpy(fit.centroids).to(rows)


@torch.no_grad()
def nearest_centroids(rows: Tensor, centroids: Tensor) -> Tensor:
    """The centroid `(k, dim)` of least distance to each row, `(n,)` int64 on their device."""
    faiss = import_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    _, found = faiss.knn(_for_faiss(rows), _for_faiss(centroids), 1)
    return torch.from_numpy(found[:, 0]).to(rows.device)


def _for_faiss(rows: Tensor) -> Any:
    """The rows as a float32 array of numpy."""
    return rows.detach().float().cpu().contiguous().numpy()
