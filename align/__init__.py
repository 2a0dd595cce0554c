"""Alignment losses: the published ones, any number of modalities, at batch cost.

Depends on torch alone, so that it can be lifted into any project together with `registry.py` and
`errors.py`. Where to look: `item.py`, `cluster.py` and `neighbor.py` are the three losses,
`fettle.py` and `cross.py` bundle them, `functional.py` is the fast numeric core.
"""

from .base import ALIGNERS, Alignment, Projected, Table
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
    "CLALoss",
    "CNALoss",
    "ILALoss",
    "Projected",
    "Table",
    "alignment_directions",
    "catalogue_scores",
    "sinkhorn",
]
