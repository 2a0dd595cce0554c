"""Search of hyper-parameters with Optuna, on validation alone."""

from .grids import paper_space
from .space import Choice, Range, Space, config_at, read_space
from .trials import Tuning
from .tune import TuningResult, tune

__all__ = [
    "Choice",
    "Range",
    "Space",
    "Tuning",
    "TuningResult",
    "config_at",
    "paper_space",
    "read_space",
    "tune",
]
