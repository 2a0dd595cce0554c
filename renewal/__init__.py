"""A run that follows an earlier one: next week's, and the one on all rows that is shipped."""

from .catalogue import Catalogue, remember
from .refit import refit_config
from .start import WarmStart, warm_start

__all__ = ["Catalogue", "WarmStart", "refit_config", "remember", "warm_start"]
