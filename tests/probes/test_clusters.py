"""Cluster measures have known answers: separated blobs agree, random rows do not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from crossalign.align import CLALoss
from crossalign.errors import ConfigError
from crossalign.probes import Views, probe_clusters
from crossalign.probes.clusters import compare, nearest_prototype, silhouette, usage
from crossalign.tensors.functional import unit_rows

N_ITEMS, N_USERS, N_BLOBS = 400, 200, 5


def blobs(seed: int, member: Tensor, dim: int = 16) -> Tensor:
    """Unit rows around one centre for each blob, far apart compared with their spread."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.eye(N_BLOBS, dim)[:, torch.randperm(dim, generator=generator)]
    return unit_rows(centres[member] + 0.05 * torch.randn(len(member), dim, generator=generator))


def made_views(*, separated: bool, text_missing: bool = False) -> Views:
    generator = torch.Generator().manual_seed(0)
    item_blob = torch.arange(N_ITEMS) % N_BLOBS
    user_blob = torch.arange(N_USERS) % N_BLOBS
    users = torch.arange(N_USERS).repeat_interleave(3)
    pairs = torch.stack([users, users % N_BLOBS + N_BLOBS * (torch.arange(len(users)) % 7)])
    present = {name: torch.ones(N_ITEMS, dtype=torch.bool) for name in ("id", "image", "text")}
    if separated:
        items = {name: blobs(seed, item_blob) for seed, name in enumerate(present)}
        user = blobs(9, user_blob)
    else:
        items = {name: unit_rows(torch.randn(N_ITEMS, 16, generator=generator)) for name in present}
        user = unit_rows(torch.randn(N_USERS, 16, generator=generator))
    if text_missing:
        present["text"][::4] = False
        items["text"] = items["text"] * present["text"].unsqueeze(1)
    return Views(user, items, present, pairs)


@pytest.mark.parametrize("text_missing", [False, True])
def test_views_with_the_same_blobs_agree_fully(text_missing: bool) -> None:
    views = made_views(separated=True, text_missing=text_missing)
    (kmeans,) = probe_clusters(views, n_clusters=N_BLOBS).clusterings
    pairs = {(pair.first, pair.second): pair for pair in kmeans.agreement}
    assert set(pairs) == {("id", "image"), ("id", "text"), ("image", "text"), ("user", "id")}
    for pair in pairs.values():
        assert pair.nmi == pytest.approx(1.0)
        assert pair.ari == pytest.approx(1.0)
    for view in kmeans.views.values():
        assert view.silhouette is not None
        assert view.silhouette > 0.8
        assert view.usage > 0.98


def test_unrelated_views_do_not_agree() -> None:
    (kmeans,) = probe_clusters(made_views(separated=False), n_clusters=N_BLOBS).clusterings
    for pair in kmeans.agreement:
        assert pair.nmi < 0.1
        assert abs(pair.ari) < 0.05


def test_codebooks_of_cluster_level_alignment_are_probed() -> None:
    """Prototypes that lie on the blobs of all views make the views agree."""
    views = made_views(separated=True)
    same = dict.fromkeys(views.items, views.items["id"])
    user = blobs(0, torch.arange(N_USERS) % N_BLOBS)
    views = Views(user, same, views.present, views.pairs)
    cla = CLALoss(K=N_BLOBS, D=16)
    with torch.no_grad():
        for prototypes in (cla.prototypes_user_item, cla.prototypes_modalities):
            prototypes.copy_(3 * views.items["id"][:N_BLOBS])
    clusterings = probe_clusters(views, torch.nn.ModuleList([cla]), n_clusters=4).clusterings
    assert [c.name for c in clusterings] == [
        "k-means",
        "codebook of users and items",
        "codebook of modalities",
    ]
    for clustering in clusterings[1:]:
        assert clustering.n_clusters == N_BLOBS
        assert all(pair.ari == pytest.approx(1.0) for pair in clustering.agreement)
    assert list(clusterings[1].views) == ["user", "id"]
    assert list(clusterings[2].views) == ["id", "image", "text"]


def test_the_nearest_prototype_is_the_one_of_largest_cosine() -> None:
    rows, prototypes = torch.eye(3), unit_rows(torch.tensor([[0.0, 1, 1], [1, 0, 0.1]]))
    assert nearest_prototype(rows, prototypes).tolist() == [1, 0, 0]


def test_usage_is_one_when_even_and_zero_for_one_cluster() -> None:
    assert usage(torch.arange(8), 8) == pytest.approx(1.0)
    assert usage(torch.zeros(8, dtype=torch.int64), 8) == 0.0
    halves = torch.tensor([0, 0, 1, 1])
    assert usage(halves, 8) == pytest.approx(math.log(2) / math.log(8))


def test_names_of_clusters_do_not_matter_to_agreement() -> None:
    labels = torch.arange(60) % 4
    renamed = torch.tensor([2, 0, 3, 1])[labels]
    assert compare("a", "b", labels, renamed).ari == pytest.approx(1.0)


def test_silhouette_of_a_single_cluster_is_undefined() -> None:
    assert silhouette(torch.randn(20, 4), torch.zeros(20, dtype=torch.int64)) is None


def test_more_clusters_than_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"200 clusters of 200 rows: choose 2 \.\. 199"):
        probe_clusters(made_views(separated=True), n_clusters=200)
