"""Geometry measures against loops, and views whose gap is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from crossalign.probes import Views, probe_geometry
from crossalign.probes.geometry import gap
from crossalign.tensors.functional import unit_rows

N_USERS, N_ITEMS, DIM = 30, 40, 6


def random_rows(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return unit_rows(torch.randn(n, DIM, generator=generator, dtype=torch.float64))


def views_of(items: dict[str, Tensor], missing: dict[str, list[int]] | None = None) -> Views:
    present = {name: torch.ones(N_ITEMS, dtype=torch.bool) for name in items}
    for name, rows in (missing or {}).items():
        present[name][rows] = False
    pairs = torch.stack([torch.arange(60) % N_USERS, torch.arange(60) * 7 % N_ITEMS])
    return Views(random_rows(N_USERS, 0), items, present, pairs)


def test_alignment_and_uniformity_equal_the_loops() -> None:
    views = views_of({"id": random_rows(N_ITEMS, 1)})
    probe = probe_geometry(views)
    distances = [
        float((views.user[u] - views.items["id"][i]).square().sum()) for u, i in views.pairs.T
    ]
    assert probe.alignment == pytest.approx(sum(distances) / len(distances))
    for rows, found in (
        (views.user, probe.uniformity_user),
        (views.items["id"], probe.uniformity_item),
    ):
        potential = [
            math.exp(-2 * float((rows[a] - rows[b]).square().sum()))
            for a in range(len(rows))
            for b in range(a)
        ]
        assert found == pytest.approx(math.log(sum(potential) / len(potential)))


def test_gap_equals_the_loop_over_items_that_have_both() -> None:
    left, right = random_rows(N_ITEMS, 1), random_rows(N_ITEMS, 2)
    found = gap(views_of({"id": left, "text": right}, {"text": [3, 5]}), "id", "text")
    items = [item for item in range(N_ITEMS) if item not in (3, 5)]
    matched = [float(left[i] @ right[i]) for i in items]
    unmatched = [float(left[i] @ right[j]) for i in items for j in items if i != j]
    assert found.cosine == pytest.approx(sum(matched) / len(matched))
    assert found.unmatched == pytest.approx(sum(unmatched) / len(unmatched))
    centroids = [torch.stack([rows[i] for i in items]).mean(0) for rows in (left, right)]
    assert found.centroid_distance == pytest.approx(float((centroids[0] - centroids[1]).norm()))


def test_equal_views_have_no_gap_and_cannot_be_told_apart() -> None:
    rows = random_rows(N_ITEMS, 1)
    probe = probe_geometry(views_of({"id": rows, "image": rows}))
    assert probe.gaps[0].cosine == pytest.approx(1.0)
    assert probe.gaps[0].centroid_distance == pytest.approx(0.0)
    assert probe.modality_accuracy == pytest.approx(0.5)
    assert probe.chance == 0.5


def test_views_on_two_sides_of_the_sphere_are_told_apart() -> None:
    rows = random_rows(N_ITEMS, 1)
    side = torch.zeros(DIM, dtype=torch.float64)
    side[0] = 3
    probe = probe_geometry(views_of({"id": unit_rows(rows + side), "text": unit_rows(rows - side)}))
    assert probe.modality_accuracy == 1.0
    assert probe.gaps[0].centroid_distance > 1.5


def test_a_single_view_has_no_gap() -> None:
    probe = probe_geometry(views_of({"id": random_rows(N_ITEMS, 1)}))
    assert probe.gaps == ()
    assert probe.modality_accuracy is None
    assert len(probe.lines()) == 3
