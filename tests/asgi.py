"""Asks an application of the service in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, TypeVar

from crossalign.benchmarks.http_client import Answer
from crossalign.serving.http.app import create_app
from crossalign.serving.http.service import Service

Value = TypeVar("Value")


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
