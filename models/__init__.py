"""Backbones: recommenders that turn graphs and ids into representations and their own loss."""

from .base import BACKBONES, Backbone, Batch, Representations
from .bpr import BPR
from .freedom import FREEDOM
from .lightgcn import LightGCN
from .vbpr import VBPR

__all__ = [
    "BACKBONES",
    "BPR",
    "FREEDOM",
    "VBPR",
    "Backbone",
    "Batch",
    "LightGCN",
    "Representations",
]
