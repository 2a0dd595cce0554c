"""What torchrun tells the processes that it starts."""

from __future__ import annotations

import functools
import os
from datetime import timedelta


def n_processes() -> int:
    """How many processes train together; 1 where torchrun started none."""
    return int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ else 1


@functools.cache
def speaks() -> bool:
    """Whether this process tells the user what went wrong: of several, the first that asks.

    When one process fails, the others lose touch with it and fail as well; so it must ask before
    it leaves. They ask the store of torchrun, which outlives them.
    """
    if n_processes() == 1:
        return True
    from torch.distributed import TCPStore

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=10))
        # torchrun keeps its store when it starts all processes again (--max-restarts)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return store.add(f"crossalign/spoken/{attempt}", 1) == 1
    except RuntimeError:  # torchrun itself is gone
        return True
