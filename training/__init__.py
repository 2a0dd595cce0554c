"""The training loop, its options, and what it leaves on disk."""

from .checkpoint import load_weights
from .context import RunContext
from .fit import FitResult, fit
from .mapped_table import MappedTable
from .negatives import NegativeSampler, epoch_batches
from .options import TrainingOptions
from .seeding import generator, seed_everything
from .team import ALONE, Team

__all__ = [
    "ALONE",
    "FitResult",
    "MappedTable",
    "NegativeSampler",
    "RunContext",
    "Team",
    "TrainingOptions",
    "epoch_batches",
    "fit",
    "generator",
    "load_weights",
    "seed_everything",
]
