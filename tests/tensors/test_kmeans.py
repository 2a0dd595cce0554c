"""k-means: its fixed points, its start, and what it does with few rows."""

from __future__ import annotations

import torch
from torch import Tensor

from crossalign.tensors.functional import unit_rows
from crossalign.tensors.kmeans import kmeans, nearest_centroids


def table(n: int, dim: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(0))


def test_every_centroid_is_the_mean_of_the_rows_that_are_nearest_to_it() -> None:
    rows = table(200, 6)
    centroids = kmeans(rows, 12, seed=3)
    cluster = nearest_centroids(rows, centroids)
    assert centroids.shape == (12, 6)
    assert torch.equal(cluster, torch.cdist(rows, centroids).argmin(1))
    for k in range(12):
        torch.testing.assert_close(centroids[k], rows[cluster == k].mean(0), atol=0.2, rtol=0.2)


def test_there_are_at_most_as_many_clusters_as_rows() -> None:
    rows = table(7, 4)
    centroids = kmeans(rows, 1000, seed=0)
    assert centroids.shape == (7, 4)
    torch.testing.assert_close(centroids[nearest_centroids(rows, centroids)], rows)


def test_the_seed_decides_and_types_are_kept() -> None:
    rows = table(60, 4).double()
    first, again, other = (kmeans(rows, 5, seed=seed) for seed in (1, 1, 2))
    assert first.dtype == torch.float64
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_given_start_keeps_the_numbering() -> None:
    centres = 10 * torch.eye(3)[torch.tensor([2, 0, 1])]
    rows = centres.repeat_interleave(20, dim=0) + 0.1 * table(60, 3)
    centroids = kmeans(rows, 3, seed=0, n_iterations=10, start=centres)
    torch.testing.assert_close(centroids, centres, atol=0.2, rtol=0)


def test_spherical_centroids_are_unit_rows_in_the_mean_direction_of_their_rows() -> None:
    rows = unit_rows(table(300, 5))
    centroids = kmeans(rows, 4, seed=0, n_iterations=100, spherical=True)
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(4))
    cluster = (rows @ centroids.T).argmax(1)
    means = torch.stack([rows[cluster == k].mean(0) for k in range(4)])
    torch.testing.assert_close(centroids, unit_rows(means), atol=1e-4, rtol=0)
