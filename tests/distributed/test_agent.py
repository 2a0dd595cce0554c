"""What the agent of a host says of a process that was killed."""

from __future__ import annotations

import pytest

from crossalign.distributed import agent
from crossalign.distributed.agent import Child, memory_kills
from crossalign.distributed.launch import Hosts, _explained


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


def test_who_runs_out_of_memory_is_told_to_use_more_hosts() -> None:
    hosts = Hosts(("10.0.0.1", "10.0.0.2"), local=False)
    event = {"failed": "trainer 1 on 10.0.0.2", "code": -9}
    killed = {**event, "why": "was killed (SIGKILL)"}
    short = {**event, "why": "was killed (SIGKILL) as memory ran out"}
    assert str(_explained([killed], hosts, 1)).endswith("; continue with --resume")
    assert str(_explained([short], hosts, 1)) == (
        "trainer 1 on 10.0.0.2 was killed (SIGKILL) as memory ran out; train on more hosts, or "
        "with a smaller training.batch_size"
    )
