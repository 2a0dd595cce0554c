"""Worker processes: they do not outlive the process that started them, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

KILLED = """
import os, signal, time
from crossalign.studies.processes import process_pool

with process_pool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def is_running(pid: int) -> bool:
    """Whether there is such a process, and not just one that nobody has waited for."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_worker_in_the_middle_of_its_work_ends_with_a_killed_parent() -> None:
    """It would otherwise write into the folders that the repeated command works in."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    worker, deadline = int(done.stdout), time.monotonic() + 20
    while is_running(worker):
        assert time.monotonic() < deadline, "the worker goes on"
        time.sleep(0.01)


INTERRUPTED = """
import os, time
from crossalign.studies.processes import process_pool

with process_pool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    for _ in range(2):
        pool.submit(time.sleep, 600)
    time.sleep(1)
    raise KeyboardInterrupt
"""


def test_an_interrupted_pool_ends_what_runs_and_begins_nothing_more() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "KeyboardInterrupt" in done.stderr
    assert not is_running(int(done.stdout))
