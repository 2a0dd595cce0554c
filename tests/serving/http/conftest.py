"""A small export with content, served in this process, and a way to ask it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="pip install crossalign[serve]")
sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))

from asgi import Asgi

from crossalign.config import load_config
from crossalign.pipeline import train
from crossalign.serving import export_run
from crossalign.serving.http.options import ItemsFile, ServeOptions
from crossalign.serving.http.service import Service
from crossalign.serving.http.store import Store

SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=3", "backbone.dim=16"]


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of 150 users and 100 items with two modalities."""
    folder = tmp_path_factory.mktemp("export")
    train(
        load_config(None, SMALL, path="planted", backbone="lightgcn"),
        folder / "run",
        progress=False,
    )
    export_run(folder / "run", folder / "shop")
    return folder / "shop"


@pytest.fixture(scope="session")
def export_with_evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with evidence of two kinds, added to the best twenty items of the model."""
    folder = tmp_path_factory.mktemp("evidence")
    chosen = ["evidence.kind=cooccurrence+ease", "evidence.weight=1", "evidence.candidates=20"]
    train(
        load_config(None, [*SMALL, *chosen], path="planted", backbone="lightgcn"),
        folder / "run",
        progress=False,
    )
    export_run(folder / "run", folder / "shop")
    return folder / "shop"


@pytest.fixture
def live(export: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be changed."""
    return shutil.copytree(export, tmp_path / "live")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Asgi]]:
    """`served(export, token=…, items=…, **options)`: an application in this process."""
    opened: list[Asgi] = []

    def make(
        export: Path, token: str | None = None, items: ItemsFile | None = None, **options: Any
    ) -> Asgi:
        place = tmp_path / f"store{len(opened)}"
        place.mkdir()
        store = Store(export, place)
        store.take()
        opened.append(Asgi(Service(place, ServeOptions(**options), items), token))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def asgi(served: Callable[..., Asgi], export: Path) -> Asgi:
    """The export, served with the usual options."""
    return served(export)
