"""A process that answers, on a socket that its parent holds."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .app import create_app
from .options import ItemsFile, ServeOptions
from .service import Service

MOST_HEAD = 64 * 1024
"""Bytes of a request before its body."""
PARENT_EVERY = 1.0


@dataclass(frozen=True)
class Task:
    """What a worker serves, and how.

    Attributes:
        store: folder of a `Store`.
        options: of the service.
        token: that requests must carry.
        items: titles and pictures.
    """

    store: Path
    options: ServeOptions
    token: str | None
    items: ItemsFile | None


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers do not end."""

    _head = 0

    def data_received(self, data: bytes) -> None:
        """Count what comes before the headers are complete."""
        self._head += len(data)
        super().data_received(data)
        if self._head > MOST_HEAD and not self.transport.is_closing():
            self.transport.close()

    def on_headers_complete(self) -> None:
        """From here on the gate counts."""
        self._head = -(1 << 62)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next request begins."""
        self._head = 0
        super().on_message_complete()


def work(task: Task, listening: socket.socket) -> None:
    """Answer requests until told to end, or until the parent is gone."""
    app = create_app(Service(task.store, task.options, task.items), task.token)
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_parent, args=(server, os.getppid()), daemon=True).start()
    server.run(sockets=[listening])


def _end_with_parent(server: uvicorn.Server, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY)
    server.should_exit = True
