"""`crossalign serve` as a process of its own, for load and for tests."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from http_client import Client, request

PATIENCE = 300.0
"""Seconds that a service may take to start."""


class Service:
    """A service on a free port, as a context.

    Args:
        export: what it serves.
        arguments: of `crossalign serve`.
        environment: variables on top of this process's.
    """

    def __init__(
        self, export: Path, *arguments: str, environment: dict[str, str] | None = None
    ) -> None:
        command = [
            sys.executable,
            "-m",
            "crossalign",
            "serve",
            str(export.resolve()),
            "--port",
            "0",
        ]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tempfile.gettempdir(),  # our `datasets` must not hide another package's
            env={**os.environ, **(environment or {})},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def __enter__(self) -> Service:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.match(r"http://\S+:(\d+)/", "".join(self.lines[:1]))):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start: {self.lines}")
            time.sleep(0.05)
        self.port = int(found[1])
        asyncio.run(self._until_ready(deadline))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self._reader.join()

    def workers(self) -> list[int]:
        """Process ids of those who answer: children of the server that forks them."""
        (forks,) = (pid for pid in _children(self.process.pid) if "forkserver" in _command(pid))
        return _children(forks)

    def memory(self) -> int:
        """Bytes of all processes, shared ones once."""
        family = [self.process.pid]
        for pid in family:
            family += _children(pid)
        return sum(_proportional(pid) for pid in family)

    def heard(self, text: str, seconds: float = 120.0) -> str:
        """Wait until the service says a line with `text`, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [line for line in self.lines if text in line]
            if found:
                return found[0]
            time.sleep(0.05)
        raise TimeoutError(f"no '{text}' in {self.lines}")

    async def _until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            client = Client(self.port)
            answer = await asyncio.wait_for(client.ask(request("GET", "/ready")), PATIENCE)
            client.close()
            if answer.status == 200:
                return
            await asyncio.sleep(0.1)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _proportional(pid: int) -> int:
    """The share of a process in the memory that it uses (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
