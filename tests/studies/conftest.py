"""Configurations and results of experiments, without training."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossalign.config import RunConfig, load_config
from crossalign.studies.study import MethodResult

TINY = [
    "data.planted_users=150", "data.planted_items=100", "training.epochs=1", "backbone.dim=8",
]  # fmt: skip


def configured(backbone: str, alignment: str, *overrides: str) -> RunConfig:
    prototypes = ["alignment.n_prototypes=8"] if alignment in ("fettle", "cross") else []
    return load_config(
        None, [*TINY, *prototypes, *overrides], backbone=backbone, alignment=alignment
    )


def with_values(label: str, *test: float, valid: tuple[float, ...] = ()) -> MethodResult:
    values = {"recall@20": valid or test}
    return MethodResult(label, (Path(label),), values, {"recall@20": test})


@pytest.fixture(scope="session")
def config():
    return configured


@pytest.fixture(scope="session")
def result():
    return with_values


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of LightGCN with CROSS that trains in a moment."""
    file = tmp_path_factory.mktemp("presets") / "cross.yaml"
    file.write_text(
        "backbone: {name: lightgcn, dim: 8, n_layers: 1}\n"
        "alignment: {name: cross, n_prototypes: 8}\n"
        "training: {epochs: 1}\n"
        "data: {planted_users: 150, planted_items: 100}\n"
    )
    return file
