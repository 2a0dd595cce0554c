"""Data sets: reading, checking, describing, and one that is generated."""

from ..errors import DataError
from .dataset import SPLITS, Dataset, ItemGraph
from .describe import DatasetReport, describe
from .load import FORMATS, load_dataset
from .options import DataOptions
from .planted import planted
from .splits import drop_cold_users

__all__ = [
    "FORMATS",
    "SPLITS",
    "DataError",
    "DataOptions",
    "Dataset",
    "DatasetReport",
    "ItemGraph",
    "describe",
    "drop_cold_users",
    "load_dataset",
    "planted",
]
