"""Side-by-side timing of two ways to do the same work, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class Comparison:
    """Seconds of both sides, medians over rounds, and their ratio taken round by round."""

    work: str
    baseline_seconds: float
    our_seconds: float
    ratio: float

    def line(self) -> str:
        """One line of the printed table."""
        return (
            f"{self.work:52s} {self.baseline_seconds * 1e3:10.1f} ms "
            f"{self.our_seconds * 1e3:10.1f} ms {self.ratio:7.1f} x"
        )

    def to_dict(self) -> dict[str, float | str]:
        """Plain values for JSON."""
        return asdict(self)


def compare(
    work: str, baseline: Callable[[], object], ours: Callable[[], object], *, rounds: int = 5
) -> Comparison:
    """Time `baseline` and `ours` in turn, after one warm-up each.

    The two alternate, so that a machine that slows down slows both.
    """
    baseline()
    ours()
    pairs = [(seconds(baseline), seconds(ours)) for _ in range(rounds)]
    return Comparison(
        work,
        statistics.median(slow for slow, _ in pairs),
        statistics.median(fast for _, fast in pairs),
        statistics.median(slow / fast for slow, fast in pairs),
    )


def seconds(function: Callable[[], object]) -> float:
    """Seconds of one call: of the processor with one thread, else by the clock.

    On one thread both are the same, but for the time that a busy machine gives to others.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    function()
    return clock() - start
