"""Every rule for directions by its name."""

from __future__ import annotations

from .dynamic import Dynamic
from .policies import (
    Bidirectional,
    DirectionPolicy,
    Directions,
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

PLAIN: dict[str, type[DirectionPolicy]] = {
    "one_way": OneWay,
    "bidirectional": Bidirectional,
    "topmost": Topmost,
    "random": RandomWay,
}
"""Rules without options."""


def direction_policy(
    name: Directions,
    n_modalities: int,
    *,
    theta: float = 0.9,
    theta_of: ThetaOf = "source",
    spread: Spread = "variance",
    spread_over: SpreadOver = "batch",
    compensate_both: bool = False,
    spread_decay: float = 0.0,
    feedback: Feedback = "cosine",
) -> DirectionPolicy:
    """The policy called `name` for `n_modalities` modalities, `id` included.

    Options of other policies are ignored.

    Args:
        name: a name of `Directions`.
        n_modalities: all modalities, `id` included.
        theta: see `Threshold`.
        theta_of: see `Threshold`.
        spread: see `Dynamic`.
        spread_over: see `Dynamic`.
        compensate_both: see `Dynamic`.
        spread_decay: `decay` of `Dynamic`.
        feedback: what the scores shall be made of: cosines, or inner products, whose size follows
            the length of rows; `theta` and the rule `dynamic` are made for cosines.

    Raises:
        ConfigError: `name` or an option is none of the known ones.
    """
    policy: DirectionPolicy
    if name == "threshold":
        policy = Threshold(theta, theta_of)
    elif name == "dynamic":
        policy = Dynamic(n_modalities, spread, compensate_both, spread_decay, spread_over)
    else:
        policy = PLAIN[known(name, Directions, "directions")]()
    known(feedback, Feedback, "feedback")
    policy.feedback = feedback
    return policy
