"""Hosts of their own network, reached through a remote shell: two network namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossalign.cli import main

ADDRESSES = ("10.213.7.1", "10.213.7.2")
NAMES = (f"ca{os.getpid()}a", f"ca{os.getpid()}b")

pytestmark = pytest.mark.skipif(
    "CROSSALIGN_LONG" not in os.environ, reason="takes minutes: set CROSSALIGN_LONG=1"
)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def networks() -> Iterator[None]:
    """Two namespaces joined by a cable; skipped where they cannot be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and `ip`")
    try:
        for name in NAMES:
            _ip("netns", "add", name)
        ends = [f"v{name}"[:15] for name in NAMES]
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for name, end, address in zip(NAMES, ends, ADDRESSES, strict=True):
            _ip("link", "set", end, "netns", name)
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            for link in ("lo", end):
                _ip("-n", name, "link", "set", link, "up")
        yield
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_hosts_of_a_file_train_over_a_remote_shell(networks, tmp_path: Path) -> None:
    """The command of `local:2`, with addresses in a file and a shell that reaches them."""
    shell, hosts = tmp_path / "shell", tmp_path / "hosts.txt"
    shell.write_text(
        "#!/bin/sh\n"
        f'case "$1" in {ADDRESSES[0]}) n={NAMES[0]};; *) n={NAMES[1]};; esac\n'
        'exec ip netns exec $n sh -c "$2"\n'
    )
    shell.chmod(0o755)
    hosts.write_text(f"# two hosts\n{ADDRESSES[0]}\n{ADDRESSES[1]}  # the second\n")
    small = ["--set", "data.planted_users=60", "--set", "data.planted_items=40"]
    parts, run = str(tmp_path / "parts"), str(tmp_path / "run")
    assert main(["partition", "planted", "--parts", "2", "--out", parts, "--quiet", *small]) == 0
    command = [sys.executable, "-m", "crossalign", "train", "--parts", parts, "--quiet"]
    command += ["--hosts", str(hosts), "--backbone", "bpr", "--alignment", "none"]
    command += ["--set", "training.epochs=1", "--set", "backbone.dim=8", "--out", run]
    environment = os.environ | {"CROSSALIGN_SHELL": str(shell)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "best epoch 1 of 1" in done.stdout
    assert (tmp_path / "run" / "model.safetensors").is_file()
