"""A run that follows an earlier one: next week's, and the one on all rows that is shipped."""

from .catalogue import Catalogue, remember
from .refit import refit_config
from .start import WarmStart, moments_of, seen_by, warm_start

__all__ = [
    "Catalogue",
    "WarmStart",
    "moments_of",
    "refit_config",
    "remember",
    "seen_by",
    "warm_start",
]
