"""Directions: which modality of an item shall learn from which other one.

A policy (`rules.py`) looks at the feedback scores of a batch's items and opens some of the
directions `source -> target` for each item; here it is chosen by options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .rules import (
    Bidirectional,
    DirectionPolicy,
    Dynamic,
    Feedback,
    OneWay,
    RandomWay,
    Spread,
    SpreadOver,
    ThetaOf,
    Threshold,
    Topmost,
    known,
)

Directions = Literal["one_way", "dynamic", "threshold", "bidirectional", "topmost", "random"]
"""Names of the policies."""

PLAIN: dict[str, type[DirectionPolicy]] = {
    "one_way": OneWay,
    "bidirectional": Bidirectional,
    "topmost": Topmost,
    "random": RandomWay,
}
"""Rules without options."""


@dataclass(kw_only=True, eq=False, repr=False)
class DirectionOptions:
    """How directions are chosen; what chooses them by these options inherits them.

    Args:
        directions: rule: one_way, dynamic, threshold, bidirectional, topmost or random; None takes
            the default, one_way or what leaky_bi says.
        theta: score above which the rule threshold opens the reverse direction too.
        theta_of: whose score that is: source, target or either.
        spread: uncertainty of the rule dynamic: variance or std.
        spread_over: of the scores of the batch's items, or of those of each item's users.
        compensate_both: let the rule dynamic compensate the source's score too.
        spread_decay: share that the rule dynamic keeps of earlier batches' spread, below 1.
        feedback: what directions compare, mean cosine of users and item, or the mean inner_product
            as the paper prints it, so that longer rows win. All else is of unit rows in any case.
    """

    directions: Directions | None = None
    theta: float = 0.9
    theta_of: ThetaOf = "source"
    spread: Spread = "variance"
    spread_over: SpreadOver = "batch"
    compensate_both: bool = False
    spread_decay: float = 0.0
    feedback: Feedback = "cosine"

    def make_policy(self, n_modalities: int, default: Directions = "one_way") -> DirectionPolicy:
        """The rule for `n_modalities` modalities, `id` included; options of others are ignored.

        Raises:
            ConfigError: the rule or an option is none of the known ones.
        """
        name = self.directions or default
        policy: DirectionPolicy
        if name == "threshold":
            policy = Threshold(self.theta, self.theta_of)
        elif name == "dynamic":
            spread = self.spread, self.compensate_both, self.spread_decay, self.spread_over
            policy = Dynamic(n_modalities, *spread)
        else:
            policy = PLAIN[known(name, Directions, "directions")]()
        policy.feedback = known(self.feedback, Feedback, "feedback")  # type: ignore[assignment]
        return policy


def direction_policy(name: Directions, n_modalities: int, **options: Any) -> DirectionPolicy:
    """The rule called `name`, with `DirectionOptions` by keyword."""
    return DirectionOptions(directions=name, **options).make_policy(n_modalities)


def direction_name(source: str, target: str) -> str:
    """Key of a direction: `source_to_target`."""
    return f"{source}_to_{target}"
