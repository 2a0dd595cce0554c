"""Memory that a cluster-level step needs beside its inputs: run as a process of its own.

    python benchmarks/memory.py plain|ours

Prints by how many MiB the resident set grows at its peak during forward and backward, after a step
on a few pairs has loaded what is loaded once. The batch has 2048 pairs of 1800 users and 1300
items, with 10240 prototypes, about what TikTok gives. Needs Linux, whose kernel keeps the peak and
lets a process reset it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

RESET_PEAK = Path("/proc/self/clear_refs")
DIM, BATCH, USERS, ITEMS, PROTOTYPES = 64, 2048, 1800, 1300, 10240


def extra_mib(side: str) -> float:
    """What this file prints for `plain` or `ours`."""
    command = [sys.executable, str(Path(__file__)), side]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(side: str) -> None:
    """Measure one side."""
    import torch
    from plain.cluster_level import cluster_level

    from crossalign.align import CLALoss

    torch.set_num_threads(1)
    torch.manual_seed(0)
    cla = CLALoss(PROTOTYPES, DIM)
    user, *views = (torch.randn(n, DIM).requires_grad_() for n in (USERS, ITEMS, ITEMS, ITEMS))
    books = (cla.prototypes_user_item, cla.prototypes_modalities)
    users, items = torch.arange(BATCH) % USERS, torch.arange(BATCH) % ITEMS

    def step(n: int) -> None:
        batch = users[:n], items[:n]
        if side == "ours":
            cla(user, *views, *batch).backward()
        else:
            cluster_level(user, views, *books, cla.temperature, *batch).backward()

    step(16)
    RESET_PEAK.write_text("5")
    before = resident_kib("VmRSS")
    step(BATCH)
    print((resident_kib("VmHWM") - before) / 1024)


def resident_kib(which: str, process: str = "self") -> int:
    """The resident set of a process now, `VmRSS`, or at its peak, `VmHWM`."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    main(sys.argv[1])
