"""A small export with content, served in this process, and a way to ask it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("fastapi", reason="pip install crossalign[serve]")
sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))

from crossalign.config import load_config
from crossalign.pipeline import train
from crossalign.serving import export_run
from crossalign.serving.http.app import create_app
from crossalign.serving.http.options import ItemsFile, ServeOptions
from crossalign.serving.http.service import Service
from crossalign.serving.http.store import Store

SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=3", "backbone.dim=16"]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Asgi:
    """Asks an ASGI application, in an event loop of its own."""

    def __init__(self, service: Service, token: str | None = None) -> None:
        self.service, self.app = service, create_app(service, token)
        self.loop = asyncio.new_event_loop()
        self._running = service.running()
        self.run(self._running.__aenter__())

    def close(self) -> None:
        self.run(self._running.__aexit__(None, None, None))
        self.loop.close()

    def run(self, action: Awaitable[Value]) -> Value:
        return self.loop.run_until_complete(asyncio.wait_for(action, 60))

    def get(self, path: str, **headers: str) -> Answer:
        return self.run(self.ask("GET", path, b"", headers))

    def post(self, path: str, body: object, **headers: str) -> Answer:
        return self.run(self.ask("POST", path, json.dumps(body).encode(), headers))

    async def ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str] | None = None
    ) -> Answer:
        path, _, query = path.partition("?")
        given = {"host": "localhost", "content-type": "application/json", **(headers or {})}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": query.encode("latin-1"), "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        pairs = {k.decode(): v.decode("latin-1") for k, v in sent[0]["headers"]}
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(sent[0]["status"], pairs, content)


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
