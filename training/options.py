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
    """Options of `fit`. Defaults are those of MMRec, the usual protocol of this field, but for a
    learning rate with which runs end in tens of epochs where they crept for hundreds.
    """

    section: ClassVar[str] = "training"

    epochs: Annotated[int, Field(ge=1)] = 1000
    """Epochs at most; early stopping usually comes first."""

    batch_size: Annotated[int, Field(ge=1)] = 2048
    """Positive pairs per step, of all processes together."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3e-3
    """Learning rate of Adam in the first epoch; MMRec has 1e-3."""

    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """L2 penalty that Adam adds to the gradient of every parameter."""

    decoupled_weight_decay: bool = False
    """Let the weight decay shrink parameters by itself, as AdamW does, instead of adding to the
    gradient."""

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

    negatives: Literal["train", "all_splits"] = "train"
    """Whose items are never a user's negatives: those of the training split, or of all splits. The
    latter leaks what is held out into training, and is there to tell how much that is worth: the
    published figures of REARM were made that way. Say so beside any result."""

    shared_negatives: Annotated[int, Field(ge=0)] = 0
    """Candidates from which all pairs of a batch take their negatives; 0 draws one for each pair.
    Fewer distinct items make a sampled batch smaller."""

    replay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """For runs that start from another: pairs that it was trained on, for each new one, that an
    epoch takes, drawn anew each time. None takes all of them."""

    sampling: Literal["full", "blocks"] = "full"
    """What a step computes: full propagates over the whole graph, blocks over the sampled
    neighbourhood of the batch (backbones that know it: bpr, lightgcn, vbpr)."""

    fanout: int | tuple[int, ...] = 10
    """Neighbours that blocks draw of each node: of the nodes of the batch, of their neighbours, and
    so on, one number for each layer or one for all; -1 takes all."""

    exclude_positives: bool = True
    """Leave the positive pairs of a batch out of its own blocks, as edges."""

    lazy_embeddings: bool = False
    """With blocks, update only the embedding rows that a batch reads. Rows that it does not read
    keep their values and moments, whereas Adam lets them move on; weight decay rests as well. On a
    CPU this needs torch 2.4 or newer."""

    checkpoint_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two checkpoints; a killed run resumes from the last one."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; `auto` takes a GPU if torch sees one."""

    gather: bool = True
    """With several processes, the alignment sees the pairs of all of them, as in one process; False
    lets each see its own part of a batch, which is cheaper and leaves contrasts fewer rows."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the dense products of a backbone's layers in a step; losses, sums over neighbours,
    parameters and evaluation have float32. float16 needs a GPU."""

    compile: bool = False
    """Compile the backbone's dense layers (torch.compile), for a GPU: on a CPU it gains nothing.
    Needs a C++ compiler, on a GPU Triton, and a backbone with parts of several layers."""

    deterministic: bool = True
    """Bit-for-bit repeatable on a CPU with any number of threads (torch otherwise adds gradients
    of repeated rows in the order in which threads arrive). GPUs add in any order regardless."""

    def __post_init__(self) -> None:
        parse_metric(self.monitor)
        if self.lazy_embeddings and self.sampling == "full":
            raise ConfigError(
                "option 'training.lazy_embeddings' has no effect where every step reads all rows: "
                "set training.sampling to blocks, or leave it out"
            )
        if self.lazy_embeddings and self.decoupled_weight_decay:
            raise ConfigError(
                "option 'training.lazy_embeddings' knows only weight decay within the gradient: "
                "set training.decoupled_weight_decay to false, or leave either out"
            )
        if self.lazy_embeddings and self.precision == "float16":
            raise ConfigError(
                "option 'training.lazy_embeddings' does not know the scaled gradients of float16: "
                "set training.precision to bfloat16 or float32"
            )
        if any(k == 0 or k < -1 for k in self.fanouts(1)):
            raise ConfigError(
                f"option 'training.fanout' is {self.fanout}: give numbers of at least 1, or -1 for "
                "all neighbours"
            )

    def fanouts(self, n_layers: int) -> tuple[int, ...]:
        """`fanout` for each of `n_layers` layers, as given if it is one number for each."""
        return (self.fanout,) * n_layers if isinstance(self.fanout, int) else self.fanout

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1: `lr * decay^((epoch - 1) / decay_epochs)`."""
        return self.learning_rate * self.lr_decay ** ((epoch - 1) / self.lr_decay_epochs)

    def torch_device(self) -> torch.device:
        """The device to compute on.

        Raises:
            ConfigError: `device` is `cuda`, and torch sees no GPU; or `precision` is `float16`,
                and there is none to use.
        """
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise ConfigError(
                "device is 'cuda', but torch sees no GPU: use device 'cpu', or install a CUDA "
                "build of torch and a driver"
            )
        on_gpu = available and self.device != "cpu"
        if self.precision == "float16" and not on_gpu:
            raise ConfigError(
                "option 'training.precision' is 'float16', which a CPU has no fast products for: "
                "use 'bfloat16' or 'float32', or a GPU"
            )
        return torch.device("cuda" if on_gpu else "cpu")
