"""The rules that open directions, by the feedback scores of a batch's items.

Each opens some of the directions `source -> target` for each item; the source moves, the target
stays.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from ..errors import ConfigError, unknown_name

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
            scores: `(n_modalities, n)` feedback scores, see `feedback_scores`.
            present: `(n_modalities, n)` bool, or None; a direction needs both its ends.
            generator: source of random draws; None takes torch's global one.
            user_variance: `(n_modalities, n)` variance of the scores over each item's users, see
                `user_variance`; for rules with `over_users`.

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


class Dynamic(DirectionPolicy):
    """One-way on compensated scores, so that close modalities learn from each other (CROSS).

    The target's score gains `v (exp(1 - s) - 1)`, with `v` the spread of the modality's scores
    over the present items of the batch. A direction against the gradient of quality opens as long
    as the gap is small and scores are uncertain; ties are open both ways if there is any spread.
    The defaults are the published rule, the arguments its other readings.

    Args:
        n_modalities: all modalities, `id` included.
        spread: the unbiased variance, or its square root.
        spread_over: v is one number for each modality, over the `batch`'s items, or one for each
            item too, over its `users`, where one user has none.
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
        spread_over: SpreadOver = "batch",
    ) -> None:
        super().__init__()
        self.over_users = known(spread_over, SpreadOver, "spread_over") == "users"
        if self.over_users and decay > 0:
            raise ConfigError(
                "spread_over 'users' has no average over batches: set spread_decay to 0, or "
                "spread_over to batch"
            )
        if not 0.0 <= decay < 1.0:
            raise ConfigError(f"spread_decay is {decay}: choose a number from 0 to below 1")
        self.spread = known(spread, Spread, "spread")
        self.compensate_both = compensate_both
        self.decay = decay
        unseen = torch.full((n_modalities,), torch.nan) if decay > 0 else None
        self.register_buffer("average", unseen)

    def opens(self, seen: Judged) -> Tensor:
        """Where the compensated target scores higher than the source."""
        if not self.over_users:
            spread = self.remembered(*variance(seen.scores, seen.present)).unsqueeze(1)
        elif seen.user_variance is None:
            raise ValueError("a rule with spread_over 'users' must be given user_variance")
        else:
            spread = self.measured(seen.user_variance)
        raised = compensated(seen.scores, spread)
        source = raised if self.compensate_both else seen.scores
        return raised.unsqueeze(0) > source.unsqueeze(1)

    def measured(self, found: Tensor) -> Tensor:
        """The spread that a variance means."""
        return found.sqrt() if self.spread == "std" else found

    def remembered(self, found: Tensor, enough: Tensor) -> Tensor:
        """The spread to use, `(n_modalities,)`, given this batch's variance.

        Args:
            found: `(n_modalities,)` variance of the batch.
            enough: `(n_modalities,)` bool, whether the batch has enough items to tell.
        """
        now = self.measured(found)
        if self.average is None:
            return now
        before = self.average.to(now)
        if self.training:
            mixed = torch.where(before.isnan(), now, self.decay * before + (1 - self.decay) * now)
            before = torch.where(enough, mixed, before)
            self.average.copy_(before)
        return torch.where(before.isnan(), now, before)


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
    """`s + v (exp(1 - s) - 1)` of scores `(n_modalities, n)` and a spread of `n` or 1 columns."""
    return scores + spread * torch.expm1(1 - scores)


def weaker_to_stronger(scores: Tensor) -> Tensor:
    """`(source, target, n)` bool, whether the target's score is strictly higher."""
    return scores.unsqueeze(0) > scores.unsqueeze(1)


def known(value: str, choices: object, option: str) -> str:
    """`value` if it is among the literal `choices`; else the one-line error."""
    if value not in get_args(choices):
        raise unknown_name(f"value of {option}", value, get_args(choices))
    return value
