"""Direction policies: which modality of an item shall learn from which other one.

A policy looks at the feedback scores of a batch's items and opens some of the directions
`source -> target` for each item; the source moves, the target stays. CROSS's rule is in
`dynamic.py`; `rules.py` has them all by name.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from ..errors import unknown_name

Directions = Literal["one_way", "dynamic", "threshold", "bidirectional", "topmost", "random"]
"""Names of the policies."""

ThetaOf = Literal["source", "target", "either"]
"""Whose score the threshold policy looks at, the end that moves one way or the other end."""

Spread = Literal["variance", "std"]
"""How the dynamic policy measures the uncertainty of a modality."""

SpreadOver = Literal["batch", "users"]
"""Of what it is the spread: of the batch's items, or for each item of its own users."""

Feedback = Literal["cosine", "inner_product"]
"""What scores are means of, over an item's users."""


class Judged(NamedTuple):
    """What a policy sees of some items; see `DirectionPolicy.forward`."""

    scores: Tensor
    present: Tensor | None
    generator: torch.Generator | None
    user_variance: Tensor | None


class DirectionPolicy(nn.Module):
    """A rule that opens directions; subclasses implement `opens`.

    Attributes:
        feedback: what the scores that it is given shall be made of.
        over_users: whether it asks for the variance of scores over the users of each item.
    """

    feedback: Feedback = "cosine"
    over_users: bool = False

    def opens(self, seen: Judged) -> Tensor:
        """`(source, target, n)` bool.

        What it says of a modality and itself, and of missing rows, does not matter.
        """
        raise NotImplementedError

    @torch.no_grad()
    def forward(
        self,
        scores: Tensor,
        present: Tensor | None = None,
        generator: torch.Generator | None = None,
        user_variance: Tensor | None = None,
    ) -> Tensor:
        """Which direction is active for which item.

        Args:
            scores: `(n_modalities, n)` feedback scores, see `scores.feedback_scores`.
            present: `(n_modalities, n)` bool, or None; a direction needs both its ends.
            generator: source of random draws; None takes torch's global one.
            user_variance: `(n_modalities, n)` variance of the scores over each item's users, see
                `scores.user_variance`; for rules with `over_users`.

        Returns:
            `(source, target, n)` bool.
        """
        active = self.opens(Judged(scores, present, generator, user_variance))
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        active = active & ~own.unsqueeze(2)
        if present is not None:
            active &= present.unsqueeze(0) & present.unsqueeze(1)
        return active


class OneWay(DirectionPolicy):
    """The weaker modality learns from the stronger one (FETTLE eq. 5); ties stay closed."""

    def opens(self, seen: Judged) -> Tensor:
        """Where the target scores higher."""
        return weaker_to_stronger(seen.scores)


class Bidirectional(DirectionPolicy):
    """All directions, whatever the scores."""

    def opens(self, seen: Judged) -> Tensor:
        """Everywhere."""
        scores = seen.scores
        return scores.new_ones(len(scores), *scores.shape, dtype=torch.bool)


class Threshold(DirectionPolicy):
    """One-way, and the reverse of those directions that have a good end (FETTLE, Figure 4).

    With `theta` below -1 it is bidirectional but for ties, from 1 on it is one-way: scores are
    cosines.

    Args:
        theta: score above which an end is good.
        theta_of: the end that is looked at, as the one-way rule names them; the paper's sentence
            can be read as `source` or as `target`.
    """

    def __init__(self, theta: float = 0.9, theta_of: ThetaOf = "source") -> None:
        super().__init__()
        self.theta = theta
        self.theta_of = known(theta_of, ThetaOf, "theta_of")

    def opens(self, seen: Judged) -> Tensor:
        """Where the target scores higher, or the reverse of that and its end is good."""
        one_way = weaker_to_stronger(seen.scores)
        good = seen.scores > self.theta
        source, target = good.unsqueeze(1), good.unsqueeze(0)
        passes = {"source": source, "target": target, "either": source | target}[self.theta_of]
        return one_way | (one_way & passes).transpose(0, 1)


class Topmost(DirectionPolicy):
    """Only the modality of the highest score is a target, and all weaker ones move to it."""

    def opens(self, seen: Judged) -> Tensor:
        """Towards the best score."""
        scores = seen.scores
        if seen.present is not None:
            scores = scores.masked_fill(~seen.present, -torch.inf)
        return weaker_to_stronger(seen.scores) & (scores == scores.amax(0)).unsqueeze(0)


class RandomWay(DirectionPolicy):
    """One direction per item and pair of modalities, drawn anew at every call (a control)."""

    def opens(self, seen: Judged) -> Tensor:
        """By the toss of a coin."""
        scores, generator = seen.scores, seen.generator
        n_modalities, n = scores.shape
        device = scores.device if generator is None else generator.device
        draws = torch.rand(n_modalities, n_modalities, n, generator=generator, device=device)
        heads = draws.to(scores.device) < 0.5
        order = torch.arange(n_modalities, device=scores.device)
        first = (order.unsqueeze(1) < order).unsqueeze(2)
        return torch.where(first, heads, ~heads.transpose(0, 1))


def weaker_to_stronger(scores: Tensor) -> Tensor:
    """`(source, target, n)` bool, whether the target's score is strictly higher."""
    return scores.unsqueeze(0) > scores.unsqueeze(1)


def known(value: str, choices: object, option: str) -> str:
    """`value` if it is among the literal `choices`; else the one-line error."""
    if value not in get_args(choices):
        raise unknown_name(f"value of {option}", value, get_args(choices))
    return value
