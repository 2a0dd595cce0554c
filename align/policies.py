"""Direction policies: which modality of an item shall learn from which other one.

A policy looks at the feedback scores of a batch's items and opens some of the directions
`source -> target` for each item; the source moves, the target stays. `direction_policy` makes one
by name.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import ConfigError, unknown_name

Directions = Literal["one_way", "dynamic", "threshold", "bidirectional", "topmost", "random"]
"""Names of the policies."""

ThetaOf = Literal["source", "target", "either"]
"""Whose score the threshold policy looks at, the end that moves one way or the other end."""

Spread = Literal["variance", "std"]
"""How the dynamic policy measures the uncertainty of a modality."""


class DirectionPolicy(nn.Module):
    """A rule that opens directions; subclasses implement `opens`."""

    def opens(
        self, scores: Tensor, present: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """`(source, target, n)` bool; arguments as in `forward`.

        What it says of a modality and itself, and of missing rows, does not matter.
        """
        raise NotImplementedError

    @torch.no_grad()
    def forward(
        self,
        scores: Tensor,
        present: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Which direction is active for which item.

        Args:
            scores: `(n_modalities, n)` feedback scores, see `scores.feedback_scores`.
            present: `(n_modalities, n)` bool, or None; a direction needs both its ends.
            generator: source of random draws; None takes torch's global one.

        Returns:
            `(source, target, n)` bool.
        """
        active = self.opens(scores, present, generator)
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        active = active & ~own.unsqueeze(2)
        if present is not None:
            active &= present.unsqueeze(0) & present.unsqueeze(1)
        return active


class OneWay(DirectionPolicy):
    """The weaker modality learns from the stronger one (FETTLE eq. 5); ties stay closed."""

    def opens(
        self, scores: Tensor, present: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Where the target scores higher."""
        return weaker_to_stronger(scores)


class Bidirectional(DirectionPolicy):
    """All directions, whatever the scores."""

    def opens(
        self, scores: Tensor, present: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Everywhere."""
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

    def opens(
        self, scores: Tensor, present: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Where the target scores higher, or the reverse of that and its end is good."""
        one_way = weaker_to_stronger(scores)
        good = scores > self.theta
        source, target = good.unsqueeze(1), good.unsqueeze(0)
        passes = {"source": source, "target": target, "either": source | target}[self.theta_of]
        return one_way | (one_way & passes).transpose(0, 1)


class Topmost(DirectionPolicy):
    """Only the modality of the highest score is a target, and all weaker ones move to it."""

    def opens(
        self, scores: Tensor, present: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Towards the best score."""
        seen = scores if present is None else scores.masked_fill(~present, -torch.inf)
        return weaker_to_stronger(scores) & (seen == seen.amax(0)).unsqueeze(0)


class RandomWay(DirectionPolicy):
    """One direction per item and pair of modalities, drawn anew at every call (a control)."""

    def opens(
        self, scores: Tensor, present: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """By the toss of a coin."""
        n_modalities, n = scores.shape
        device = scores.device if generator is None else generator.device
        draws = torch.rand(n_modalities, n_modalities, n, generator=generator, device=device)
        heads = draws.to(scores.device) < 0.5
        order = torch.arange(n_modalities, device=scores.device)
        first = (order.unsqueeze(1) < order).unsqueeze(2)
        return torch.where(first, heads, ~heads.transpose(0, 1))


class Dynamic(DirectionPolicy):
    """One-way on compensated scores, so that close modalities learn from each other (CROSS).

    The target's score gains `v (exp(1 - s) - 1)`, with `v` the spread of the modality's scores
    over the present items of the batch. A direction against the gradient of quality opens as long
    as the gap is small and scores are uncertain; ties are open both ways if there is any spread.
    The defaults are the published rule, the arguments its other readings.

    Args:
        n_modalities: all modalities, `id` included.
        spread: the unbiased variance, or its square root.
        compensate_both: give the source its compensation too.
        decay: share that the spread keeps from the batches before, an exponential average; 0
            forgets them. In evaluation mode the average is used and not changed.

    Attributes:
        average: `(n_modalities,)` averaged spread, part of the state; NaN for a modality until a
            batch had two items of it. None with `decay=0`.
    """

    average: Tensor | None

    def __init__(
        self,
        n_modalities: int,
        spread: Spread = "variance",
        compensate_both: bool = False,
        decay: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0.0 <= decay < 1.0:
            raise ConfigError(f"spread_decay is {decay}: choose a number from 0 to below 1")
        self.spread = known(spread, Spread, "spread")
        self.compensate_both = compensate_both
        self.decay = decay
        unseen = torch.full((n_modalities,), torch.nan) if decay > 0 else None
        self.register_buffer("average", unseen)

    def opens(
        self, scores: Tensor, present: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Where the compensated target scores higher than the source."""
        spread = self.remembered(*variance(scores, present))
        raised = compensated(scores, spread)
        source = raised if self.compensate_both else scores
        return raised.unsqueeze(0) > source.unsqueeze(1)

    def remembered(self, found: Tensor, enough: Tensor) -> Tensor:
        """The spread to use, `(n_modalities,)`, given this batch's variance.

        Args:
            found: `(n_modalities,)` variance of the batch.
            enough: `(n_modalities,)` bool, whether the batch has enough items to tell.
        """
        now = found.sqrt() if self.spread == "std" else found
        if self.average is None:
            return now
        before = self.average.to(now)
        if self.training:
            mixed = torch.where(before.isnan(), now, self.decay * before + (1 - self.decay) * now)
            before = torch.where(enough, mixed, before)
            self.average.copy_(before)
        return torch.where(before.isnan(), now, before)


def weaker_to_stronger(scores: Tensor) -> Tensor:
    """`(source, target, n)` bool, whether the target's score is strictly higher."""
    return scores.unsqueeze(0) > scores.unsqueeze(1)


def variance(scores: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Unbiased variance of each modality over its present items, and whether there are two.

    Returns:
        `(n_modalities,)` variances, 0 where there are fewer than two items, and bool.
    """
    weight = torch.ones_like(scores) if present is None else present.to(scores.dtype)
    n = weight.sum(1)
    mean = (scores * weight).sum(1) / n.clamp_min(1)
    squares = ((scores - mean.unsqueeze(1)).square() * weight).sum(1)
    return squares / (n - 1).clamp_min(1), n > 1


def compensated(scores: Tensor, spread: Tensor) -> Tensor:
    """`s + v (exp(1 - s) - 1)` of scores `(n_modalities, n)` and their spread `(n_modalities,)`."""
    return scores + spread.unsqueeze(1) * torch.expm1(1 - scores)


def direction_policy(
    name: Directions,
    n_modalities: int,
    *,
    theta: float = 0.9,
    theta_of: ThetaOf = "source",
    spread: Spread = "variance",
    compensate_both: bool = False,
    spread_decay: float = 0.0,
) -> DirectionPolicy:
    """The policy called `name` for `n_modalities` modalities, `id` included.

    Options of other policies are ignored.

    Args:
        name: a name of `Directions`.
        n_modalities: all modalities, `id` included.
        theta: see `Threshold`.
        theta_of: see `Threshold`.
        spread: see `Dynamic`.
        compensate_both: see `Dynamic`.
        spread_decay: `decay` of `Dynamic`.

    Raises:
        ConfigError: `name` or an option is none of the known ones.
    """
    plain = {
        "one_way": OneWay,
        "bidirectional": Bidirectional,
        "topmost": Topmost,
        "random": RandomWay,
    }
    if name == "threshold":
        return Threshold(theta, theta_of)
    if name == "dynamic":
        return Dynamic(n_modalities, spread, compensate_both, spread_decay)
    return plain[known(name, Directions, "directions")]()


def known(value: str, choices: object, option: str) -> str:
    """`value` if it is among the literal `choices`; else the one-line error."""
    if value not in get_args(choices):
        raise unknown_name(f"value of {option}", value, get_args(choices))
    return value
