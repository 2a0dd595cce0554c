"""The agent of a host: starts its server and trainers, and ends them all when one of them dies.

Run by the launcher, over ssh or on the same machine, with its share of the run as an argument. It
ends everything that it started when its standard input closes, so nothing outlives the launcher.
Where the system allows, its processes get a /dev/shm of their own, which goes when they do.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO

from .spec import ENTERED, MARK, NO_MEMORY, HostSpec

INSIDE = "--inside"
GRACE = 20.0
"""Seconds that a server has to leave after its trainers."""
SHM = Path("/dev/shm")
LAST_WORDS = (b"Traceback (most recent", b"crossalign: ")
OF_DGL = ("-kvdata-", "graph", "ca-")


class Child:
    """A server or a trainer, and the last lines that it said.

    Args:
        name: for messages.
        command: what it runs.
        environment: in addition to this process's.
        shown: whether what it says is for the user.
    """

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], *, shown: bool
    ) -> None:
        self.name = name
        self.shown = shown
        self.tail: deque[str] = deque(maxlen=30)
        self.memory_kills = memory_kills()
        self.process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_die_with_parent,
        )
        out, err = self.process.stdout, self.process.stderr
        assert out is not None
        assert err is not None
        streams = ((out, sys.stdout), (err, sys.stderr))
        self.readers = [
            threading.Thread(target=self._pass_on, args=pair, daemon=True) for pair in streams
        ]
        for reader in self.readers:
            reader.start()

    def _pass_on(self, source: IO[bytes], target: TextIO) -> None:
        """Lines and progress bars to the launcher, as they come; why it ends, it says itself."""
        rest = b""
        while chunk := os.read(source.fileno(), 1 << 16):
            if self.shown:
                seen = chunk.replace(f"{ENTERED}\n".encode(), b"")
                for last_words in LAST_WORDS:
                    seen, found, _ = seen.partition(last_words)
                    self.shown = self.shown and not found
                if not self.shown and seen and not seen.endswith(b"\n"):
                    seen += b"\n"
                target.buffer.write(seen)
                target.flush()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace").strip()
                if text == ENTERED:
                    tell(entered=self.name)
                elif text:
                    self.tail.append(text)

    def why(self) -> str:
        """How it ended."""
        code = self.process.returncode
        for reader in self.readers:
            reader.join(2)
        if code < 0:
            short = f" {NO_MEMORY}" if memory_kills() > self.memory_kills else ""
            return f"was killed ({signal.Signals(-code).name}){short}"
        said = [line for line in self.tail if line.startswith("crossalign: ")]
        last = said[-1].removeprefix("crossalign: ") if said else " ".join(list(self.tail)[-1:])
        return f"ended with {code}: {last[:300]}"


def memory_kills() -> int:
    """How many processes the system has ended so far because memory ran out, on this machine."""
    rows = (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return sum(int(count) for name, count in rows if name == "oom_kill")


def _die_with_parent() -> None:
    """Linux ends a child with the thread that started it, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def tell(**event: object) -> None:
    """Say something to the launcher."""
    sys.stdout.write(f"{MARK}{json.dumps(event)}\n")
    sys.stdout.flush()


def own_memory() -> bool:
    """Whether a /dev/shm of one's own was mounted; the caller must be in a mount namespace."""
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(SHM)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def namespace() -> list[str]:
    """The command that gives a process mounts of its own; empty where the system forbids it."""
    command = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m"]
    if shutil.which("unshare") is None:
        return []
    probe = [*command, "mount", "-t", "tmpfs", "tmpfs", str(SHM)]
    allowed = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    return command if allowed else []


def run_host(spec: HostSpec, *, alone: bool) -> int:
    """Start what belongs on this host, and wait until it is over.

    Args:
        spec: the host's share.
        alone: whether /dev/shm is this run's own.

    Returns:
        The exit code: 0 if every trainer finished.
    """
    if not alone and spec.same_machine and len(spec.addresses) > 1:
        tell(failed=f"host {spec.address}", why="may not have a /dev/shm of its own (unshare -m)")
        return 1
    before = set() if alone else _left_behind()
    if before:
        names = ", ".join(sorted(before)[:3])
        why = f"holds shared memory of another run ({names}): wait for it, or delete {SHM}/NAME"
        tell(failed=f"host {spec.address}", why=why)
        return 1
    stop = threading.Event()
    threading.Thread(target=_until_closed, args=(stop,), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory() as folder:
        ip_config = Path(folder) / "ip_config.txt"
        ip_config.write_text("".join(f"{address} {spec.port}\n" for address in spec.addresses))
        children = list(_start(spec, str(ip_config)))
        try:
            return _watch(children, stop)
        finally:
            for child in children:
                child.process.kill()
                child.process.wait()
            if not alone:
                for name in _left_behind():
                    (SHM / name).unlink(missing_ok=True)


def _start(spec: HostSpec, ip_config: str) -> Iterator[Child]:
    """The server, then the trainers."""
    common = spec.environment(ip_config)
    if interface := _interface(spec.address):
        common["GLOO_SOCKET_IFNAME"] = interface
    command = [sys.executable, *spec.command]
    yield Child(f"server of {spec.address}", command, {**common, **spec.server()}, shown=False)
    for n in range(spec.trainers):
        own = spec.trainer(n)
        name = f"trainer {own['CROSSALIGN_TRAINER']} on {spec.address}"
        first = own["CROSSALIGN_TRAINER"] == "0"
        yield Child(name, command, {**common, **own}, shown=first)


def _watch(children: list[Child], stop: threading.Event) -> int:
    """Wait for the trainers, then for the server; on the first failure, say whose it is.

    A server leaves when the trainers of all hosts are done, maybe before those of this host have
    quite ended.
    """
    server, *trainers = children
    server_left = done = 0.0
    while not stop.wait(0.1):
        for child in children:
            if child.process.poll() not in (None, 0):
                tell(failed=child.name, why=child.why(), code=child.process.returncode)
                return 1
        now = time.monotonic()
        if _finished(trainers):
            done = done or now
            if server.process.poll() == 0 or now - done > GRACE:
                for reader in (reader for child in trainers for reader in child.readers):
                    reader.join(2)
                tell(finished=True)
                return 0
        elif server.process.poll() == 0:
            server_left = server_left or now
            if now - server_left > GRACE:
                tell(failed=server.name, why="left before its trainers", code=0)
                return 1
    return 1


def _finished(trainers: list[Child]) -> bool:
    """Whether all ended well."""
    return all(child.process.poll() == 0 for child in trainers)


def _until_closed(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()


def _left_behind() -> set[str]:
    """What DGL has in shared memory."""
    names = (path.name for path in SHM.iterdir() if path.stat().st_uid == os.geteuid())
    return {name for name in names if any(part in name for part in OF_DGL)}


def _interface(address: str) -> str | None:
    """The network interface of an address of this host; gloo would guess from the host's name."""
    import fcntl
    import socket
    import struct

    if address.startswith("127."):
        return "lo"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            asked = struct.pack("256s", name[:15].encode())
            try:
                answer = fcntl.ioctl(probe.fileno(), 0x8915, asked)  # SIOCGIFADDR
            except OSError:  # an interface without an address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None


def main(arguments: list[str]) -> int:
    """Run the agent; in mounts of its own where that can be had."""
    spec = HostSpec.from_json(arguments[0])
    if INSIDE in arguments:
        return run_host(spec, alone=own_memory())
    wrapped = namespace()
    if wrapped:
        again = [sys.executable, "-m", "crossalign.distributed.agent", arguments[0], INSIDE]
        os.execvp(wrapped[0], [*wrapped, *again])
    return run_host(spec, alone=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
