"""How to train: every number a user may turn."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from ..errors import ConfigError
from ..evaluation.metrics import parse_metric
from ..options import STRICT, Options


@dataclass(frozen=True, config=STRICT)
class TrainingOptions(Options):
    """Options of `fit`. Defaults are those of MMRec, the usual protocol of this field."""

    section: ClassVar[str] = "training"

    epochs: Annotated[int, Field(ge=1)] = 1000
    """Epochs at most; early stopping usually comes first."""

    batch_size: Annotated[int, Field(ge=1)] = 2048
    """Positive pairs per step."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    """Learning rate of Adam in the first epoch."""

    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """L2 penalty that Adam adds to the gradient of every parameter."""

    lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate every `lr_decay_epochs` epochs, applied smoothly; 1 keeps it
    constant."""

    lr_decay_epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 50
    """Epochs after which the learning rate has been multiplied by `lr_decay` once."""

    patience: Annotated[int, Field(ge=0)] = 20
    """Training stops when more than this many evaluations in a row bring no improvement."""

    eval_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two evaluations on the validation split; the last epoch is always
    evaluated."""

    monitor: str = "recall@20"
    """Validation metric that chooses the best epoch."""

    negative_power: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Negative items are drawn with probability proportional to (number of training users) to this
    power; 0 is uniform over the items seen in training."""

    checkpoint_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two checkpoints; a killed run resumes from the last one."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; `auto` takes a GPU if torch sees one."""

    deterministic: bool = True
    """Bit-for-bit repeatable on a CPU with any number of threads (torch otherwise adds gradients
    of repeated rows in the order in which threads arrive). GPUs add in any order regardless."""

    def __post_init__(self) -> None:
        parse_metric(self.monitor)

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1: `lr * decay^((epoch - 1) / decay_epochs)`."""
        return self.learning_rate * self.lr_decay ** ((epoch - 1) / self.lr_decay_epochs)

    def torch_device(self) -> torch.device:
        """The device to compute on.

        Raises:
            ConfigError: `device` is `cuda`, and torch sees no GPU.
        """
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise ConfigError(
                "device is 'cuda', but torch sees no GPU: use device 'cpu', or install a CUDA "
                "build of torch and a driver"
            )
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")
