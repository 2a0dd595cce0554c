"""Load on `crossalign serve`, over loopback: speed, memory, faults, and broken requests.

    python benchmarks/serving.py [load faults mutations] [--items 7000 1000000] [--clients 1 16 64]

`load` measures requests a second, latencies and memory with generated exports, for lists of single
users. `faults` exchanges the export and kills a process under load, and counts what was lost.
`mutations` sends requests that are nearly right. Clients share the machine with the service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from generated_export import generated_export
from http_client import Answer, Client, request
from mutated import mutated_requests, sent_path, why_wrong
from service_process import Service

from crossalign.fileio import write_text
from crossalign.serving.layout import ABOUT, VECTORS

USERS = 20_000
FAULT_ITEMS = 7000


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=["load", "faults", "mutations"])
    parser.add_argument("--items", nargs="+", type=int, default=[7000, 1_000_000])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--exports", type=Path, default=Path("runs/generated"))
    parser.add_argument("--out", type=Path, default=Path("runs/serving.json"))
    options = parser.parse_args()
    results: dict[str, Any] = {"cores": os.cpu_count(), "workers": options.workers}
    if "load" in options.parts:
        results["load"] = [row for n in options.items for row in load(options, n)]
    if "faults" in options.parts:
        results["faults"] = faults(options)
    if "mutations" in options.parts:
        results["mutations"] = mutations(options)
    write_text(options.out, json.dumps(results, indent=2) + "\n")


def load(options: argparse.Namespace, n_items: int) -> list[dict[str, Any]]:
    """Requests a second and latencies for each number of clients, with `n_items` items."""
    export = generated_export(options.exports / str(n_items), USERS, n_items)
    rows = []
    with Service(export, "--workers", str(options.workers)) as service:
        asyncio.run(_run(service.port, 4, _until(time.monotonic() + 2)))
        for n_clients in options.clients:
            busy = os.getloadavg()[0]
            start = time.monotonic()
            done = asyncio.run(_run(service.port, n_clients, _until(start + options.seconds)))
            row = {
                "items": n_items,
                "clients": n_clients,
                "requests_per_second": len(done.seconds) / (time.monotonic() - start),
                **done.percentiles(),
                "not_200": done.others(),
                "memory_mb": service.memory() / 2**20,
                "load_average_before": busy,
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


class Done:
    """What came of some requests."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.exports: Counter[str] = Counter()
        self.lost: list[str] = []
        self.repeated = 0

    def percentiles(self) -> dict[str, float]:
        """Latencies in milliseconds."""
        values = np.percentile(1000 * np.array(self.seconds), [50, 95, 99])
        return {f"p{q}_ms": float(value) for q, value in zip((50, 95, 99), values, strict=True)}

    def others(self) -> int:
        """Answers that are none."""
        return sum(n for status, n in self.statuses.items() if status != 200) + len(self.lost)


def _until(end: float) -> Callable[[], bool]:
    return lambda: time.monotonic() < end


async def _run(port: int, n_clients: int, goes_on: Callable[[], bool]) -> Done:
    """Let clients ask for lists of random users, each as soon as it has its answer."""
    done, rng = Done(), random.Random(0)

    async def one() -> None:
        client = Client(port)
        while goes_on():
            body = json.dumps({"users": [str(rng.randrange(USERS))], "k": 10}).encode()
            start = time.perf_counter()
            try:
                answer = await client.ask(request("POST", "/lists/users", body))
            except (OSError, EOFError) as error:
                done.lost.append(repr(error))
                client.close()
                continue
            done.seconds.append(time.perf_counter() - start)
            done.statuses[answer.status] += 1
            done.exports[_export_of(answer)] += 1
        done.repeated += client.repeated
        client.close()

    await asyncio.gather(*(one() for _ in range(n_clients)))
    return done


def _export_of(answer: Answer) -> str:
    return str(answer.json()["export"]) if answer.status == 200 else "none"


def faults(options: argparse.Namespace) -> dict[str, Any]:
    """Exchange the export for a good one, then a damaged one; kill a process; end one politely."""
    good = generated_export(options.exports / str(FAULT_ITEMS), USERS, FAULT_ITEMS)
    other = generated_export(options.exports / "other", USERS, FAULT_ITEMS, seed=1)
    live = options.exports / "live"
    shutil.rmtree(live, ignore_errors=True)
    shutil.copytree(good, live)
    report: dict[str, Any] = {}
    with Service(live, "--workers", "2", "--watch", "0.5") as service:

        def under_load(name: str, fault: Callable[[], Awaitable[None]]) -> None:
            done = asyncio.run(_under_load(service.port, fault))
            report[name] = {
                "answered": done.statuses[200],
                "lost": done.others(),
                "sent_again": done.repeated,
                "exports": len(done.exports),
                "slowest_ms": 1000 * max(done.seconds),
            }
            print(name, json.dumps(report[name]), flush=True)

        async def exchange() -> None:
            _put(other, live)
            await asyncio.to_thread(service.heard, "took a new export")

        async def damage() -> None:
            _put(good, live, damaged=True)
            await asyncio.to_thread(service.heard, "refused a new export")

        async def kill(number: signal.Signals) -> None:
            victim = service.workers()[0]
            os.kill(victim, number)
            await asyncio.to_thread(service.heard, f"process {victim} ended")

        under_load("a new export", exchange)
        under_load("a damaged export", damage)
        under_load("a process that is killed", lambda: kill(signal.SIGKILL))
        under_load("a process that is told to end", lambda: kill(signal.SIGTERM))
    return report


async def _under_load(port: int, fault: Callable[[], Awaitable[None]]) -> Done:
    """What 16 clients see from a second before a fault until a few seconds after."""
    over = asyncio.Event()
    running = asyncio.create_task(_run(port, 16, lambda: not over.is_set()))
    await asyncio.sleep(1)
    await fault()
    await asyncio.sleep(4)
    over.set()
    return await running


def _put(source: Path, live: Path, *, damaged: bool = False) -> None:
    """Replace an export file by file, in place, `about.json` last."""
    (live / ABOUT).unlink()
    for file in sorted(source.iterdir(), key=lambda file: file.name == ABOUT):
        content = bytearray(file.read_bytes())
        if damaged and file.name == VECTORS:
            content[len(content) // 2] ^= 1
        (live / file.name).write_bytes(content)


def mutations(options: argparse.Namespace) -> dict[str, Any]:
    """Statuses of requests that are nearly right; raises if one is answered wrongly."""
    export = generated_export(options.exports / str(FAULT_ITEMS), USERS, FAULT_ITEMS)
    with Service(export) as service:
        statuses = asyncio.run(_mutations(service.port, options.mutations))
        assert service.process.poll() is None
    print("mutations", dict(sorted(statuses.items())))
    return {str(status): n for status, n in sorted(statuses.items())}


async def _mutations(port: int, n: int) -> Counter[int]:
    client, statuses = Client(port), Counter[int]()
    about = (await client.ask(request("GET", "/about"))).json()
    widths = {name: state["width"] for name, state in about["modalities"].items()}
    for sent in mutated_requests(n, widths):
        answer = await asyncio.wait_for(client.ask(sent), timeout=60)
        statuses[answer.status] += 1
        wrong = why_wrong(*sent_path(sent), answer.status, answer.body)
        assert wrong is None, (wrong, sent[:500], answer)
    return statuses


if __name__ == "__main__":
    main()
