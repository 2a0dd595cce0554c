"""Alignment losses: the published ones, any number of modalities, at batch cost.

Depends on torch alone, so that it can be lifted into any project together with `registry.py` and
`errors.py`. Where to look: `item.py`, `cluster.py` and `neighbor.py` are the three losses,
`fettle.py` and `cross.py` bundle them, `bm3.py` is another way, `functional.py` is the fast core.
"""

from .base import ALIGNERS, Alignment, Projected, Table
from .bm3 import BM3Alignment
from .cluster import CLALoss
from .cross import CROSS
from .directions import alignment_directions, catalogue_scores
from .fettle import FETTLE
from .item import ILALoss
from .neighbor import CNALoss
from .sinkhorn import sinkhorn

__all__ = [
    "ALIGNERS",
    "CROSS",
    "FETTLE",
    "Alignment",
    "BM3Alignment",
    "CLALoss",
    "CNALoss",
    "ILALoss",
    "Projected",
    "Table",
    "alignment_directions",
    "catalogue_scores",
    "sinkhorn",
]
