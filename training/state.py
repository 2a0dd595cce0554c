"""What a run has gathered so far, and the scalars of its steps."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import RunError
from ..evaluation.metrics import Metrics
from .options import TrainingOptions


@dataclass
class TrainingState:
    """Everything that grows while a run goes on, besides the modules and the optimiser.

    Attributes:
        epoch: finished epochs.
        best_epoch: epoch with the best validation score, counted from 1; 0 before any evaluation.
            Where nothing is held out, the last one.
        best_score: its value of the monitored metric.
        best_metrics: all its validation metrics.
        best_weights: copy of its weights, state-dict names.
        bad_evaluations: evaluations since then, none of which was better.
        history: one flat row per epoch, free of wall-clock times so that equal runs have equal
            histories.
        timings: one row of seconds per epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    best_metrics: Metrics | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    bad_evaluations: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    timings: list[dict[str, Any]] = field(default_factory=list)

    def is_over(self, options: TrainingOptions) -> bool:
        """Whether all epochs are done, or patience has run out."""
        return self.epoch >= options.epochs or self.bad_evaluations > options.patience

    def likely_end(self, options: TrainingOptions) -> int:
        """The epoch after which training ends if no later evaluation is better."""
        left = options.patience + 1 - self.bad_evaluations
        stop = (self.epoch // options.eval_every + max(0, left)) * options.eval_every
        return min(options.epochs, max(self.epoch, stop))

    def require_finite(self, columns: Mapping[str, Sequence[float]], epoch: int) -> None:
        """Break off when a loss became NaN or infinite in `epoch`, of which these are the steps.

        Raises:
            RunError: names the first loss that did.
        """
        found = _first_not_finite(
            {name: column for name, column in columns.items() if name.startswith("loss")}
        )
        if found is not None:
            step, name = found
            kept = f"; the weights of epoch {self.best_epoch} are kept" if self.best_epoch else ""
            raise RunError(
                f"training broke off in epoch {epoch}, step {step}: {name} is not finite; lower "
                f"learning_rate or the weight of this loss term{kept}"
            )

    def finish(self, row: dict[str, Any], **seconds: float) -> None:
        """Close the epoch that `row` describes; `seconds` are its timings."""
        self.epoch = row["epoch"]
        self.history.append(row)
        self.timings.append({"epoch": self.epoch, **seconds})

    def judge(self, epoch: int, metrics: Metrics, monitor: str, modules: nn.Module) -> bool:
        """Take `metrics` as the best if they are strictly better; nothing is rounded.

        Returns:
            Whether they are the best so far.
        """
        if metrics[monitor] <= self.best_score:
            self.bad_evaluations += 1
            return False
        self.best_score, self.best_metrics = metrics[monitor], metrics
        self.keep(epoch, modules)
        self.bad_evaluations = 0
        return True

    def keep(self, epoch: int, modules: nn.Module) -> None:
        """Keep the weights of `epoch` as those of the run."""
        self.best_epoch = epoch
        self.best_weights = {name: t.detach().clone() for name, t in modules.state_dict().items()}


class StepLog:
    """Collects the scalars of every step where they are, without waiting for the device."""

    def __init__(self) -> None:
        self._names: list[tuple[str, ...]] = []
        self._values: list[Tensor] = []

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Append the scalars of one step; the device of the first one takes them all."""
        device = next(iter(scalars.values())).device
        self._names.append(tuple(scalars))
        self._values.append(torch.stack([v.detach().to(device) for v in scalars.values()]))

    def read(self) -> dict[str, list[float]]:
        """Name -> its values in the order of the steps; the one transfer from the device."""
        columns: dict[str, list[float]] = defaultdict(list)
        values = torch.cat(self._values).double().tolist() if self._values else []
        for name, value in zip(itertools.chain(*self._names), values, strict=True):
            columns[name].append(value)
        return dict(columns)


def step_means(columns: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    """Name -> mean over the steps that had it; None (null in JSON) if that is not finite."""
    means = {name: float(np.mean(column)) for name, column in columns.items()}
    return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}


def _first_not_finite(columns: Mapping[str, Sequence[float]]) -> tuple[int, str] | None:
    """Step (from 1) and name of the first value that is NaN or infinite; None if there is none."""
    found = [
        (step, name)
        for name, column in columns.items()
        for step, value in enumerate(column, start=1)
        if not math.isfinite(value)
    ]
    return min(found, key=lambda entry: entry[0], default=None)
