"""When a term of a composition takes part, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True)
class Schedule:
    """Nothing before the epoch `start`, then growth in `ramp` equal steps to full strength.

    It depends on the number of the epoch alone, so a resumed run has the schedule it would have
    had.

    Attributes:
        start: first epoch in which the term takes part, counted from 1.
        ramp: epochs of growth; the last of them has full strength. 0 and 1 start with it.

    Raises:
        ConfigError: `start` is below 1 or `ramp` below 0.
    """

    start: int = 1
    ramp: int = 0

    def __post_init__(self) -> None:
        for name, least in (("start", 1), ("ramp", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{name} of a term is {getattr(self, name)}: choose an epoch number from "
                    f"{least} on"
                )

    def factor(self, epoch: int) -> float:
        """Share of the full weight in `epoch`, from 0 to 1."""
        if epoch < self.start:
            return 0.0
        return min(1.0, (epoch - self.start + 1) / max(self.ramp, 1))
