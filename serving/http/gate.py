"""What every request passes: who may come in, how large it may be, how long it took."""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, TypeAlias

from .errors import Refused
from .metrics import Metrics
from .options import ServeOptions

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/", "/docs", "/openapi.json", "/health", "/ready")
"""Need no token: they say nothing of users and items."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        options: bounds.
        token: that requests must carry; None where only this machine can reach the service.
        metrics: counts answers.
        paths: those there are; others count together.
    """

    def __init__(
        self,
        app: App,
        options: ServeOptions,
        token: str | None,
        metrics: Metrics,
        paths: Collection[str],
    ) -> None:
        self._app, self._options, self._metrics, self._paths = app, options, metrics, paths
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        try:
            headers = dict(scope["headers"])
            self._admit(scope["path"], headers)
            body = await self._body(headers, receive)
            await self._app(scope, _replayed(body, receive), watched)
        except Refused as refused:
            await _say(watched, refused.status, refused.reason)
        except Exception:  # a mistake of ours: told to the log alone
            traceback.print_exc(file=sys.stderr)
            if not status:
                await _say(watched, 500, "internal error; the log of the service says more")
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.count(path, status, time.perf_counter() - start)

    def _admit(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._token is None:
            # else a page in a browser here could reach the service under a name of its own
            host = headers.get(b"host", b"").decode("latin-1")
            name = host if host.endswith("]") else host.rpartition(":")[0] or host
            if name not in (*LOCAL_NAMES, self._options.host):
                raise Refused("this name is not served without a token", 421)
        elif path not in OPEN_PATHS:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            matches = hmac.compare_digest(given.strip(), self._token)
            if scheme.lower() != b"bearer" or not matches:
                raise Refused("give the token as `Authorization: Bearer TOKEN`", 401)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, if it is small enough and comes in time."""
        most = self._options.max_body
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > most:
            raise Refused(f"the request is larger than {most} bytes", 413)
        try:
            return await asyncio.wait_for(_read(receive, most), self._options.body_seconds)
        except asyncio.TimeoutError:
            raise Refused("the request did not arrive in time", 408) from None


async def _read(receive: Receive, most: int) -> bytes:
    parts, total, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused("the client has gone", 400)
        parts.append(message.get("body", b""))
        total += len(parts[-1])
        if total > most:
            raise Refused(f"the request is larger than {most} bytes", 413)
        more = message.get("more_body", False)
    return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _say(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
