"""The parent of a service: holds the socket, takes exports, and replaces processes that die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

from ...errors import RunError
from .options import METRICS_VARIABLE, ItemsFile, ServeOptions, require_token
from .store import Store
from .worker import Task, work

TICK = 0.2
"""Seconds between looks at signals."""
SHORT_LIFE = 5.0
"""A process that dies sooner is replaced only after `PAUSE` seconds."""
PAUSE = 1.0
BACKLOG = 2048


def serve(
    export: Path,
    options: ServeOptions,
    *,
    token: str | None = None,
    items: ItemsFile | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve an export until SIGTERM or SIGINT; SIGHUP makes it look for a new one at once.

    Args:
        export: folder that `export_run` wrote; a new export there is taken over.
        options: where to listen, and bounds.
        token: that requests must carry.
        items: titles and pictures.
        say: gets a line for all that happens.

    Raises:
        ConfigError: a token is needed.
        DataError: the export, or the table of items, cannot be served.
        RunError: the address cannot be listened on.
    """
    require_token(options, token)
    with tempfile.TemporaryDirectory(prefix="crossalign-serve-") as folder, _counted(Path(folder)):
        place = Path(folder)
        store = Store(export, place)
        store.take()
        if items is not None:
            from .catalogue import Catalogue

            Catalogue.read(items)
        with _listen(options) as listening:
            port = listening.getsockname()[1]
            host = f"[{options.host}]" if ":" in options.host else options.host or "0.0.0.0"
            say(f"http://{host}:{port}/ serves {export} (paths: /docs); Ctrl-C ends it")
            task = Task(place, options, token, items)
            Supervisor(task, store, listening, say).run()


class Supervisor:
    """Keeps processes running that answer on one socket.

    The socket stays open while one of them dies, so that who connects meanwhile waits for another.

    Args:
        task: of each process.
        store: takes new exports.
        listening: the socket.
        say: gets a line for all that happens.
    """

    def __init__(
        self, task: Task, store: Store, listening: socket.socket, say: Callable[[str], None]
    ) -> None:
        self._task, self._store, self._listening, self._say = task, store, listening, say
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([f"{__package__}.worker"])
        self._ends, self._looks = threading.Event(), threading.Event()
        self._workers: dict[multiprocessing.process.BaseProcess, float] = {}

    def run(self) -> None:
        """Run until a signal ends it, then let requests that are under way finish."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._look)
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        try:
            for _ in range(self._task.options.workers):
                self._start()
            while not self._ends.is_set():
                wait([worker.sentinel for worker in self._workers], timeout=TICK)
                self._replace()
        finally:
            self._ends.set()
            self._looks.set()
            for worker in self._workers:
                worker.terminate()
            for worker in self._workers:
                worker.join()
            watcher.join()

    def _start(self) -> None:
        worker = self._context.Process(target=work, args=(self._task, self._listening))
        worker.start()
        self._workers[worker] = time.monotonic()

    def _replace(self) -> None:
        for worker in [one for one in self._workers if not one.is_alive()]:
            lived = time.monotonic() - self._workers.pop(worker)
            if self._ends.is_set():
                return
            self._say(f"process {worker.pid} ended with {worker.exitcode}: another takes its place")
            if lived < SHORT_LIFE:
                self._ends.wait(PAUSE)
            self._start()

    def _watch(self) -> None:
        """Look for new exports until the end."""
        while not self._ends.is_set():
            self._looks.wait(self._task.options.watch)
            self._looks.clear()
            if self._ends.is_set():
                return
            try:
                news = self._store.look(self._context)
            except (OSError, RunError) as error:  # a full disk: the old export goes on
                news = f"cannot look for a new export: {error}"
            if news:
                self._say(news)

    def _end(self, _: int, __: FrameType | None) -> None:
        self._ends.set()

    def _look(self, _: int, __: FrameType | None) -> None:
        self._looks.set()


@contextmanager
def _counted(place: Path) -> Iterator[None]:
    """Let the processes that start within the block count their answers together."""
    (place / "metrics").mkdir()
    before = os.environ.get(METRICS_VARIABLE)
    os.environ[METRICS_VARIABLE] = str(place / "metrics")
    try:
        yield
    finally:
        del os.environ[METRICS_VARIABLE]
        if before is not None:
            os.environ[METRICS_VARIABLE] = before


def _listen(options: ServeOptions) -> socket.socket:
    """A socket that listens; closed by its user.

    Raises:
        RunError: the address is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise RunError(
            f"cannot listen on {options.host}:{options.port} ({error.strerror or error}): choose "
            "another --host or --port"
        ) from error
