"""Whether the parts of a checkpoint fit the run that takes them: shapes, types and ranges.

The archive of a checkpoint is checked for rot when it is read. This is for one that was written by
something else, or for another model: an optimiser's kernel does not look at the size of what it is
given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from ..evaluation.metrics import Metrics
from .state import TrainingState

_NOT_NEGATIVE = ("exp_avg_sq", "step")


def require_weights(weights: Mapping[str, Tensor], modules: nn.Module) -> None:
    """Raise `ValueError` unless `weights` has the names, shapes and types of the state."""
    own = modules.state_dict()
    if own.keys() != weights.keys():
        odd = sorted(map(str, own.keys() ^ weights.keys()))
        raise ValueError(f"'{odd[0]}' is in one of the two alone")
    for name, wanted in own.items():
        _require_like(name, weights[name], wanted)


def require_moments(moments: Mapping[int, Any], parameters: Sequence[Tensor]) -> None:
    """Raise `ValueError` unless the optimiser's state belongs to these parameters.

    Args:
        moments: number of a parameter -> `step`, `exp_avg` and `exp_avg_sq`.
        parameters: in order.
    """
    for number, state in moments.items():
        if not 0 <= number < len(parameters) or not {"step", "exp_avg", "exp_avg_sq"} == set(state):
            raise ValueError(f"moments of parameter {number} are none of Adam's")
        parameter = parameters[number]
        for name, wanted in (
            ("step", torch.zeros(())),
            ("exp_avg", parameter),
            ("exp_avg_sq", parameter),
        ):
            where = f"{name} of parameter {number}"
            _require_like(where, state[name], wanted)
            if not state[name].isfinite().all():
                raise ValueError(f"{where} is not finite")
            if name in _NOT_NEGATIVE and (state[name] < 0).any():
                raise ValueError(f"{where} is negative")


def _require_like(name: str, given: Any, wanted: Tensor) -> None:
    if not isinstance(given, Tensor) or given.layout != wanted.layout:
        raise ValueError(f"{name} is no tensor of the same layout")
    if given.shape != wanted.shape:
        raise ValueError(f"{name} has shape {tuple(given.shape)}, not {tuple(wanted.shape)}")
    if given.dtype != wanted.dtype:
        raise ValueError(f"{name} has type {given.dtype}, not {wanted.dtype}")


def training_state(values: Mapping[str, Any]) -> TrainingState:
    """The state that a checkpoint says, if its parts agree.

    Raises:
        ValueError: a part is missing, of another type, or contradicts another one.
    """
    if values.keys() != {field.name for field in fields(TrainingState)}:
        raise ValueError("the state of the training has other parts")
    best = values["best_metrics"]
    state = TrainingState(**{**values, "best_metrics": None if best is None else Metrics(**best)})
    counts = (state.epoch, state.best_epoch, state.bad_evaluations)
    if not all(isinstance(count, int) and 0 <= count <= state.epoch for count in counts):
        raise ValueError("epochs are out of range")
    for rows in (state.history, state.timings):
        if [row["epoch"] for row in rows] != list(range(1, state.epoch + 1)):
            raise ValueError("the history is not that of its epochs")
    if not isinstance(state.best_score, float) or math.isnan(state.best_score):
        raise ValueError("the best score is no number")
    return state
