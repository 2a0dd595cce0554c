"""Starts a training on several hosts, prints as one, and ends it everywhere.

On every host runs an agent (`distributed.agent`), started over ssh or, with `local:N`, on this
machine. The launcher holds a line to each; when it is cut, the agent ends what it started.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, RunError
from .folder import graph_file, open_parts
from .spec import MARK, NO_MEMORY, HostSpec

SHELL = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=10"
SHELL_VARIABLE = "CROSSALIGN_SHELL"
START_SECONDS = 300.0
"""Longest wait until all trainers have met."""
SETTLE = 3.0
"""Seconds in which other reports of one failure arrive; a kill explains the others."""
PASSED_ON = ("PYTHONPATH", "OMP_NUM_THREADS", "CROSSALIGN_DATA", "CROSSALIGN_START_SECONDS")


@dataclass(frozen=True)
class Hosts:
    """Where to train.

    Attributes:
        addresses: of the hosts, as they reach each other; one for each part, in order.
        local: whether they are all on this machine.
        trainers: processes on each.
        port: of the servers.
    """

    addresses: tuple[str, ...]
    local: bool
    trainers: int = 1
    port: int = 30050


def read_hosts(given: str, trainers: int = 1) -> Hosts:
    """Hosts from `local:N` or a file with one address a line; `#` begins a comment.

    Raises:
        ConfigError: the file is missing or empty, or the number is none.
    """
    kind, _, number = given.partition(":")
    if kind == "local":
        if not number.isdecimal() or not 1 <= int(number) <= 250:
            raise ConfigError(f"hosts '{given}': write local:2 for two hosts on this machine")
        addresses = tuple(f"127.0.0.{n + 1}" for n in range(int(number)))
        return Hosts(addresses, True, trainers, _free_port())
    try:
        lines = Path(given).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(
            f"{given} cannot be read ({error.strerror}): give a file of addresses, or local:2"
        ) from error
    addresses = tuple(line.partition("#")[0].split()[0] for line in lines if _says(line))
    if not addresses or len(set(addresses)) < len(addresses):
        raise ConfigError(f"{given}: give every host once, one address a line")
    return Hosts(addresses, False, trainers)


def _says(line: str) -> bool:
    return bool(line.partition("#")[0].strip())


def _free_port() -> int:
    """The first of a free pair of ports, 20 apart."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 20))
            except (OSError, OverflowError):
                continue
            return int(port)
    raise RunError("no free ports: end what listens on this machine")


def launch(parts: str | Path, hosts: Hosts, command: Sequence[str]) -> None:
    """Run `command` as server and trainers on all hosts, and wait for the end.

    Args:
        parts: partition folder, at the same place on every host.
        hosts: one for each part.
        command: arguments of `python` that train on the parts.

    Raises:
        RunError: a process died, or they did not all meet; names which.
        ConfigError: there are not as many hosts as parts.
    """
    n_parts = len(open_parts(parts))
    if n_parts != len(hosts.addresses):
        raise ConfigError(
            f"{parts} has {n_parts} part(s) and there are {len(hosts.addresses)} host(s): give one "
            "host for each part, or partition again"
        )
    spec = HostSpec(
        0,
        hosts.addresses,
        hosts.trainers,
        hosts.port,
        str(graph_file(Path(parts).absolute())),
        tuple(command),
        hosts.local,
    )
    events: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
    agents = [
        _Agent(replace(spec, host=n), events, local=hosts.local)
        for n in range(len(hosts.addresses))
    ]
    try:
        _wait(agents, events, hosts)
    finally:
        for agent in agents:
            agent.release()
        for agent in agents:
            agent.end()


def _wait(
    agents: list[_Agent], events: queue.Queue[tuple[int, dict[str, Any]]], hosts: Hosts
) -> None:
    """Return when all agents have finished; raise on the first failure."""
    wait = float(os.environ.get("CROSSALIGN_START_SECONDS", START_SECONDS))
    missing = {
        f"trainer {n * hosts.trainers + t} on {address}"
        for n, address in enumerate(hosts.addresses)
        for t in range(hosts.trainers)
    }
    deadline, running = time.monotonic() + wait, set(range(len(agents)))
    while running:
        try:
            host, event = events.get(timeout=0.5)
        except queue.Empty:
            if missing and time.monotonic() > deadline:
                raise RunError(
                    f"not all trainers met within {wait:.0f} s: {', '.join(sorted(missing))} "
                    "missing; see that the hosts reach each other on the ports from "
                    f"{hosts.port} to {hosts.port + 20}"
                ) from None
            continue
        missing.discard(event.get("entered", ""))
        if "finished" in event:
            running.discard(host)
        elif "failed" in event or ("left" in event and host in running):
            raise _explained([event, *_others(events)], hosts, host)


def _others(events: queue.Queue[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What else is reported shortly after a failure."""
    found, until = [], time.monotonic() + SETTLE
    while (left := until - time.monotonic()) > 0:
        try:
            found.append(events.get(timeout=left)[1])
        except queue.Empty:
            break
    return found


def _explained(events: list[Mapping[str, Any]], hosts: Hosts, host: int) -> RunError:
    """The error for a failure: what was killed, else what could say why, else the first."""
    failed = [event for event in events if "failed" in event]
    if not failed:
        return RunError(
            f"host {hosts.addresses[host]} is gone ({events[0]['left']}); continue with --resume"
        )
    killed = [event for event in failed if event.get("code", 0) < 0]
    told = [event for event in failed if event.get("code") == 2]
    event = (killed or told or failed)[0]
    mend = "; continue with --resume" if event in killed else ""
    if str(event["why"]).endswith(NO_MEMORY):
        mend = "; train on more hosts, or with a smaller training.batch_size"
    return RunError(f"{event['failed']} {event['why']}{mend}")


class _Agent:
    """The launcher's line to the agent of a host."""

    def __init__(
        self, spec: HostSpec, events: queue.Queue[tuple[int, dict[str, Any]]], *, local: bool
    ) -> None:
        self.host = spec.host
        self.events = events
        agent = [sys.executable, "-m", "crossalign.distributed.agent", spec.to_json()]
        if not local:
            set_ = [f"{name}={os.environ[name]}" for name in PASSED_ON if name in os.environ]
            there = f"cd {shlex.quote(str(Path.cwd()))} && exec env {shlex.join([*set_, *agent])}"
            agent = [*shlex.split(os.environ.get(SHELL_VARIABLE, SHELL)), spec.address, there]
        try:
            self.process = subprocess.Popen(
                agent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise RunError(f"cannot run {agent[0]} ({error.strerror}): install it") from error
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        """Pass on what is for the user, and report what is for the launcher."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.decode(errors="replace")
            if text.startswith(MARK):
                self.events.put((self.host, json.loads(text[len(MARK) :])))
            else:
                sys.stdout.write(text)
                sys.stdout.flush()
        self.events.put((self.host, {"left": f"exit {self.process.wait()}"}))

    def release(self) -> None:
        """Cut the line: the agent ends what it started."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> None:
        """Wait for the agent, and end it if it does not leave."""
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(5)
