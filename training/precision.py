"""Steps in 16 bits: what takes part, and what keeps small gradients from vanishing."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..tensors.functional import widened
from ..tensors.representations import Representations
from .options import TrainingOptions

try:
    from torch.amp import GradScaler
except ImportError:  # torch before 2.3
    from torch.cuda.amp import GradScaler  # type: ignore[assignment]


def represent(forward: Callable[[], Representations], options: TrainingOptions) -> Representations:
    """What `forward` gives, in float32 at least, with its dense products as `precision` says.

    The layers of a backbone over whole tables are what 16 bits make faster. Losses, norms,
    exponentials, temperatures and sums over neighbours always have float32, and so have the
    parameters; evaluation knows no 16 bits at all.
    """
    if options.precision == "float32":
        return Representations(*forward())
    device, kind = options.torch_device(), getattr(torch, options.precision)
    with torch.autocast(device.type, kind):
        user, item = forward()
    return Representations(widened(user), widened(item))


def make_scaler(options: TrainingOptions) -> GradScaler:
    """Scales the loss of float16, whose gradients would vanish; does nothing for the others.

    Its factor is part of a checkpoint.
    """
    return GradScaler(enabled=options.precision == "float16")
