"""Side-by-side timing of two ways to do the same work, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Seconds = Callable[[], float]
"""Does a piece of work and says how many seconds it takes, measured or scaled up."""


@dataclass(frozen=True)
class Timing:
    """Seconds of both sides, medians over rounds, and their ratio taken round by round."""

    plain: float
    ours: float
    ratio: float


def compare(plain: Seconds, ours: Seconds, *, rounds: int = 3, warm_up: bool = True) -> Timing:
    """Time `plain` and `ours` in turn, so that a machine that slows down slows both."""
    if warm_up:
        plain()
        ours()
    pairs = [(plain(), ours()) for _ in range(rounds)]
    return Timing(
        statistics.median(slow for slow, _ in pairs),
        statistics.median(fast for _, fast in pairs),
        statistics.median(slow / fast for slow, fast in pairs),
    )


def timed(function: Callable[[], object]) -> Seconds:
    """`function` as something that says its seconds."""
    return lambda: seconds(function)


def seconds(function: Callable[[], object]) -> float:
    """Seconds of one call: of the processor with one thread, else by the clock.

    On one thread both are the same, but for the time that a busy machine gives to others.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    function()
    return clock() - start
