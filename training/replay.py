"""Epochs of a run that started from another: all pairs that are new, and some of those it knew."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from .options import TrainingOptions


@dataclass(frozen=True)
class Replay:
    """What an epoch takes of the training pairs.

    Known pairs go on taking part, drawn anew for every epoch, so that what was learnt from them is
    not written over. Graphs and negatives know all pairs.

    Attributes:
        new: `(n,)` int64, places of the pairs that the earlier run was not trained on.
        known: `(m,)` int64, places of the others.
        per_new: known pairs of an epoch for each new one, as far as there are as many.
    """

    new: Tensor
    known: Tensor
    per_new: float

    def draw(self, rng: torch.Generator) -> Tensor:
        """Places of the pairs of an epoch, sorted."""
        n = round(self.per_new * len(self.new))
        chosen = self.known[torch.randperm(len(self.known), generator=rng)[:n]]
        return torch.cat((self.new, chosen)).sort().values


def make_replay(options: TrainingOptions, seen: Tensor | None) -> Replay | None:
    """How epochs draw their pairs; None where they take all.

    Args:
        options: of training.
        seen: `(n_pairs,)` bool, which pairs an earlier run was trained on; None without one.

    Raises:
        ConfigError: `replay` is set, and there is no earlier run.
    """
    if options.replay is None:
        return None
    if seen is None:
        raise ConfigError(
            "training.replay is for runs that start from another: name it with --from, or leave "
            "the option out"
        )
    new = (~seen).nonzero().squeeze(1)
    return Replay(new, seen.nonzero().squeeze(1), options.replay) if len(new) else None
