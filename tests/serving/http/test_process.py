"""The command itself: processes, signals, and what clients notice of them under load."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from http_client import Client, request
from service_process import Service

from crossalign.checksums import sealed
from crossalign.serving.layout import ABOUT, VECTORS

TOKEN = "a-token-of-more-than-16-letters"
ENVIRONMENT = {"CROSSALIGN_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def live(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(export, tmp_path_factory.mktemp("process") / "live")


@pytest.fixture(scope="module")
def service(live: Path):
    with Service(live, "--workers", "2", environment=ENVIRONMENT) as service:
        yield service


def under_load(service: Service, fault) -> tuple[list[int], set[str]]:
    """Statuses and names of exports that 8 clients get while something happens."""
    statuses: list[int] = []
    exports: set[str] = set()

    async def ask(over: asyncio.Event) -> None:
        client = Client(service.port)
        sent = request("POST", "/lists/users", json.dumps({"users": ["3"]}).encode(), token=TOKEN)
        while not over.is_set():
            answer = await client.ask(sent)
            statuses.append(answer.status)
            exports.add(answer.json()["export"])
        client.close()

    async def run() -> None:
        over = asyncio.Event()
        clients = [asyncio.create_task(ask(over)) for _ in range(8)]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(fault)
        await asyncio.sleep(1)
        over.set()
        await asyncio.gather(*clients)

    asyncio.run(run())
    return statuses, exports


def put(source: Path, live: Path, *, damaged: bool = False) -> None:
    """Write an export over another one, in place, `about.json` last."""
    about = json.loads((source / ABOUT).read_text())
    for file in source.iterdir():
        content = bytearray(file.read_bytes())
        if damaged and file.name == VECTORS:
            content[len(content) // 2] ^= 1
        (live / file.name).write_bytes(content)
    (live / ABOUT).write_text(json.dumps(sealed({**about, "dataset": f"damaged: {damaged}"})))


def test_no_request_is_lost_when_exports_change_and_processes_die(service, export, live) -> None:
    def exchange() -> None:
        put(export, live)
        service.process.send_signal(signal.SIGHUP)
        service.heard("took a new export")

    def damage() -> None:
        put(export, live, damaged=True)
        service.process.send_signal(signal.SIGHUP)
        service.heard("refused a new export")

    def kill() -> None:
        victim = service.workers()[0]
        os.kill(victim, signal.SIGKILL)
        service.heard(f"process {victim} ended with -9")

    statuses, exports = under_load(service, exchange)
    assert set(statuses) == {200}
    assert len(exports) == 2
    for fault in (damage, kill):
        statuses, exports = under_load(service, fault)
        assert set(statuses) == {200}
        assert len(exports) == 1
    assert len(service.workers()) == 2


def test_counts_of_all_processes_come_together(service) -> None:
    async def count() -> float:
        client = Client(service.port)
        page = (await client.ask(request("GET", "/metrics", token=TOKEN))).body.decode()
        client.close()
        name = 'crossalign_requests_total{path="/health",status="200"} '
        return float(([0, *page.split(name)][-1].split("\n")[0]) if name in page else 0)

    async def ask() -> tuple[float, float]:
        before = await count()
        for _ in range(30):  # each on a connection of its own, so by either process
            client = Client(service.port)
            await client.ask(request("GET", "/health"))
            client.close()
        return before, await count()

    before, after = asyncio.run(ask())
    assert after - before == 30


def test_headers_without_end_are_not_collected(service) -> None:
    async def flood() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n")
        try:
            for number in range(200):
                writer.write(b"x-%d: " % number + b"a" * 1000 + b"\r\n")
                await writer.drain()
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    assert b"200" not in asyncio.run(flood())


def test_a_signal_ends_it_and_nothing_stays(export: Path) -> None:
    with Service(export) as service:
        (worker,) = service.workers()
    assert service.process.returncode == 0
    assert not Path(f"/proc/{worker}").exists()
    assert len(service.lines) == 1
