"""Hosts made on one machine: each has a network, a limit of memory and counters of its own.

A host is a network namespace on a common bridge and a control group. What is started on it through
`Networks.shell` can be told by its group: memory that its processes and its /dev/shm hold, the
peaks of each process, and the bytes that went over its cable. Needs root, Linux and `ip`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memory import resident_kib

CONTROL = Path("/sys/fs/cgroup")
V1 = CONTROL / "memory"
"""Where the first version of control groups keeps memory; the second knows no such folder."""
LIMIT = "memory.limit_in_bytes" if V1.exists() else "memory.max"
OWN_MEMORY = ("rss", "shmem") if V1.exists() else ("anon", "shmem")
"""What of a group's memory cannot be read from disk again: pages of processes, and /dev/shm."""
OWN = f"ca{os.getpid()}"
"""Begins the names that this process makes."""
BRIDGE = f"{OWN}bridge"[:15]
EMPTY_TRIES = 100


@dataclass(frozen=True)
class Host:
    """One host.

    Attributes:
        name: of its network namespace and its control group.
        address: on the bridge.
    """

    name: str
    address: str

    @property
    def group(self) -> Path:
        """Its control group."""
        return (V1 if V1.exists() else CONTROL) / self.name

    def memory(self) -> int:
        """Bytes that its processes and its /dev/shm hold now."""
        rows = (line.split() for line in (self.group / "memory.stat").read_text().splitlines())
        return sum(int(value) for name, value in rows if name in OWN_MEMORY)

    @property
    def plug(self) -> str:
        """The end of its cable that is in the bridge."""
        return f"to{self.name}"

    def wire(self) -> int:
        """Bytes that left it so far."""
        return int(Path(f"/sys/class/net/{self.plug}/statistics/rx_bytes").read_text())

    def peaks(self) -> dict[str, float]:
        """Role of each of its DGL processes -> its largest resident set so far, MiB."""
        found = {}
        for number in (self.group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError, AssertionError):  # it has just ended
                own = (Path("/proc") / number / "environ").read_bytes().split(b"\0")
                roles = [line.partition(b"=")[2] for line in own if line.startswith(b"DGL_ROLE=")]
                if roles:
                    role = {b"server": "server", b"client": "trainer"}[roles[0]]
                    found[role] = resident_kib("VmHWM", number) / 1024
        return found


@dataclass(frozen=True)
class Networks:
    """Some hosts, and how to train on them.

    Attributes:
        hosts: them.
        file: their addresses, for `--hosts`.
        shell: for `CROSSALIGN_SHELL`, which runs a line on one of them.
    """

    hosts: tuple[Host, ...]
    file: Path
    shell: Path


@contextlib.contextmanager
def networks(n: int, folder: Path, *, limit: int | None = None) -> Iterator[Networks]:
    """`n` hosts, taken down again at the end.

    Args:
        n: how many.
        folder: where the two files of `Networks` go.
        limit: bytes of memory that each may hold, without swap; None is no limit.

    Raises:
        RuntimeError: this is not root, or the system lacks what it takes; says what.
    """
    hosts = tuple(Host(f"{OWN}h{k}", f"10.213.8.{k + 1}") for k in range(n))
    try:
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("link", "set", BRIDGE, "up")
        for host in hosts:
            _plug(host)
            host.group.mkdir()
            if limit is not None:
                (host.group / LIMIT).write_text(str(limit))
        yield _files(hosts, folder)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip()
        raise RuntimeError(f"no networks of one's own here ({said}): they need root") from error
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)
            _remove(host.group)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _plug(host: Host) -> None:
    """A namespace, and a cable from it to the bridge."""
    _ip("netns", "add", host.name)
    _ip("link", "add", host.name, "type", "veth", "peer", "name", host.plug)
    _ip("link", "set", host.name, "netns", host.name)
    _ip("link", "set", host.plug, "master", BRIDGE, "up")
    _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.name)
    for link in ("lo", host.name):
        _ip("-n", host.name, "link", "set", link, "up")


def _remove(group: Path) -> None:
    """A group can be removed when its last process has quite ended."""
    for _ in range(EMPTY_TRIES):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return


def _files(hosts: tuple[Host, ...], folder: Path) -> Networks:
    lines = [f"{host.address}) n={host.name} g={host.group};;" for host in hosts]
    shell, file = folder / "shell", folder / "hosts.txt"
    shell.write_text(
        f'#!/bin/sh\ncase "$1" in {" ".join(lines)} esac\n'
        'echo $$ > $g/cgroup.procs || exit 1\nexec ip netns exec $n sh -c "$2"\n'
    )
    shell.chmod(0o755)
    file.write_text("".join(f"{host.address}\n" for host in hosts))
    return Networks(hosts, file, shell)
