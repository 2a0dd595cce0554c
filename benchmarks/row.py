"""A row of the table: what is compared, what is aimed at, and how it came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from limits import Cost, Machine
from timing import Seconds, compare

HEADER = (
    f"{'work':44s} {'plain':>9s} {'ours':>9s} {'ratio':>7s} {'target':>6s} "
    f"{'limit':>9s} {'share':>6s} of       published"
)


@dataclass(frozen=True)
class Row:
    """One piece of work, ready to be timed.

    `plain` and `ours` do it and say its seconds. `note` tells what of it is a sample that is
    scaled up. `published` is the wall time of the published code on two cores, in seconds.
    """

    work: str
    plain: Seconds
    ours: Seconds
    target: float
    cost: Cost
    note: str = ""
    published: float | None = None
    rounds: int = 3
    warm_up: bool = True
    extra: Mapping[str, float] = field(default_factory=dict)

    def measure(self, machine: Machine) -> Result:
        """Time both sides."""
        timing = compare(self.plain, self.ours, rounds=self.rounds, warm_up=self.warm_up)
        limit, bound = machine.limit(self.cost)
        return Result(
            work=self.work,
            plain_seconds=timing.plain,
            our_seconds=timing.ours,
            ratio=timing.ratio,
            target=self.target,
            limit_seconds=limit,
            limit=bound,
            share_of_limit=limit / timing.ours,
            published_seconds=self.published,
            note=self.note,
            extra=dict(self.extra),
        )


@dataclass(frozen=True)
class Result:
    """A measured row."""

    work: str
    plain_seconds: float
    our_seconds: float
    ratio: float
    target: float
    limit_seconds: float
    limit: str
    share_of_limit: float
    published_seconds: float | None
    note: str
    extra: dict[str, float]

    def line(self) -> str:
        """One line of the printed table, and one each for extra figures and the note."""
        faster = ""
        if self.published_seconds is not None:
            faster = (
                f"{self.published_seconds:.3g} s, {self.published_seconds / self.our_seconds:.1f} x"
            )
        lines = [
            f"{self.work:44s} {_seconds(self.plain_seconds)} {_seconds(self.our_seconds)} "
            f"{self.ratio:5.1f} x {self.target:4.3g} x {_seconds(self.limit_seconds)} "
            f"{self.share_of_limit:5.0%}  {self.limit:10s} {faster}"
        ]
        lines += [f"    {name}: {value:.4g}" for name, value in self.extra.items()]
        lines += [f"    {self.note}"] if self.note else []
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def _seconds(value: float) -> str:
    return f"{value * 1e3:6.0f} ms" if value < 100 else f"{value:7.0f} s"
