"""CROSS's rule for directions: scores are raised by how uncertain they are."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ConfigError
from .policies import DirectionPolicy, Judged, Spread, SpreadOver, known


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
