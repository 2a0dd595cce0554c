"""Probes of a trained run see what the run learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crossalign.config import load_config
from crossalign.pipeline import load_aligned_run, train
from crossalign.probes import run_views
from crossalign.probes.trained import probe_run

SMALL = [
    "data.planted_users=150",
    "data.planted_items=100",
    "training.epochs=2",
    "alignment.n_prototypes=16",
]


@pytest.fixture(scope="module")
def masked_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FETTLE on items of which some lack a modality."""
    folder = tmp_path_factory.mktemp("runs") / "fettle"
    overrides = [*SMALL, "data.mask_ratio=0.4"]
    train(load_config(None, overrides, alignment="fettle"), folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "alone"
    train(load_config(None, SMALL[:3]), folder, progress=False)
    return folder


def test_views_are_what_the_saved_projectors_make_of_the_features(masked_run: Path) -> None:
    _, dataset, backbone, alignment = load_aligned_run(masked_run)
    views = run_views(dataset, backbone, alignment)
    weights = load_file(masked_run / "model.safetensors")
    for name, table in dataset.features.items():
        missing = dataset.missing[name]
        layer = f"alignment.projectors.{name}"
        want = table @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        want = want / want.norm(dim=1, keepdim=True)
        torch.testing.assert_close(views.items[name][~missing], want[~missing])
        assert (views.items[name][missing] == 0).all()
        assert torch.equal(views.present[name], ~missing)
    assert views.user.norm(dim=1).tolist() == pytest.approx([1.0] * 150)


def test_an_aligned_run_is_probed_with_its_codebooks(masked_run: Path) -> None:
    probe = probe_run(masked_run, n_clusters=5)
    assert probe.views == ("id", "image", "text")
    assert [clustering.name for clustering in probe.clusters.clusterings] == [
        "k-means",
        "codebook of users and items",
        "codebook of modalities",
    ]
    assert len(probe.geometry.gaps) == 3
    assert max(map(len, probe.lines())) <= 80
    assert json.loads(json.dumps(probe.to_dict()))["geometry"]["chance"] == pytest.approx(1 / 3)


def test_a_backbone_alone_has_one_view_of_items(alone: Path) -> None:
    probe = probe_run(alone, n_clusters=5)
    assert probe.views == ("id",)
    (clustering,) = probe.clusters.clusterings
    assert [(pair.first, pair.second) for pair in clustering.agreement] == [("user", "id")]
    assert probe.geometry.gaps == ()


def test_the_same_run_gives_the_same_probe(alone: Path) -> None:
    assert probe_run(alone, n_clusters=5) == probe_run(alone, n_clusters=5)
