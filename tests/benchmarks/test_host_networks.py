"""The hosts of benchmarks/hosts.py: what runs on one has its address, and counts for it alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HOLDS = "python3 -c \"held = b'x' * (64 << 20); print(len(held), flush=True); input()\""
SENDS = (
    'python3 -c "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n'
    "for _ in range(10): s.sendto(b'x' * 1000, ('{}', 9)); time.sleep(0.05)\""
)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="networks need root and `ip`"
)
def test_hosts_have_networks_and_memory_of_their_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from host_networks import networks

    with ExitStack() as stack:
        try:
            nets = stack.enter_context(networks(2, tmp_path))
        except (RuntimeError, OSError) as error:
            pytest.skip(f"no hosts here: {error}")
        first, second = nets.hosts
        assert nets.file.read_text().split() == [first.address, second.address]
        pipe = subprocess.PIPE
        command = [str(nets.shell), second.address, HOLDS]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdout is not None
            assert int(process.stdout.readline()) == 64 << 20
            assert second.memory() > 64 << 20
            assert first.memory() < 16 << 20
            process.communicate("\n")
        before = first.wire(), second.wire()
        send = SENDS.format(first.address)
        subprocess.run([str(nets.shell), second.address, send], check=True)
        deadline = time.monotonic() + 20
        while second.wire() < before[1] + 5000 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert second.wire() >= before[1] + 5000
        assert first.wire() < before[0] + 5000
    assert not first.group.exists()
