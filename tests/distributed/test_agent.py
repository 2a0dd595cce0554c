"""What the agent of a host says of a process that was killed."""

from __future__ import annotations

import pytest

from crossalign.distributed import agent
from crossalign.distributed.agent import Child, memory_kills


@pytest.mark.parametrize(
    ("more", "why"),
    [(0, "was killed (SIGKILL)"), (1, "was killed (SIGKILL) as memory ran out")],
)
def test_a_process_that_memory_ran_out_for_is_told_from_others(more, why, monkeypatch):
    """By the system's count of such kills, which here goes up between start and end."""
    child = Child("trainer", ["sh", "-c", "kill -9 $$"], {}, shown=False)
    child.process.wait()
    before = memory_kills()
    monkeypatch.setattr(agent, "memory_kills", lambda: before + more)
    assert child.why() == why
