"""Alignment losses: the published ones, any number of modalities, at batch cost.

Depends on torch alone, so that it can be lifted into any project together with `tensors/`,
`registry.py` and `errors.py`. Where to look: `batch.py` is what every loss sees, `item.py`,
`cluster.py` and `neighbor.py` are the three losses, `fettle.py` and `cross.py` bundle them,
`regressed.py` is our own,
`infonce.py`, `bm3.py` and `alignrec.py` are other ways, `composed.py` is any of them together,
`rules.py` says who learns from whom and `feedback.py` by what.
"""

from ..tensors.tables import Projected, Table, Tables
from .alignrec import AlignRecAlignment
from .base import ALIGNERS, Alignment
from .batch import Batch, Views
from .bm3 import BM3Alignment
from .cluster import CLALoss, ClusterAlignment
from .composed import Composed
from .cross import CROSS
from .directions import DirectionOptions, direction_policy
from .feedback import Catalogue, alignment_directions
from .fettle import FETTLE
from .infonce import InfoNCE, InfoNCELoss
from .item import ILALoss, ItemAlignment
from .loss import Loss
from .neighbor import CNALoss, NeighborAlignment
from .regressed import RegressedNeighborAlignment, RNALoss
from .rules import DirectionPolicy
from .sinkhorn import sinkhorn

__all__ = [
    "ALIGNERS",
    "CROSS",
    "FETTLE",
    "AlignRecAlignment",
    "Alignment",
    "BM3Alignment",
    "Batch",
    "CLALoss",
    "CNALoss",
    "Catalogue",
    "ClusterAlignment",
    "Composed",
    "DirectionOptions",
    "DirectionPolicy",
    "ILALoss",
    "InfoNCE",
    "InfoNCELoss",
    "ItemAlignment",
    "Loss",
    "NeighborAlignment",
    "Projected",
    "RNALoss",
    "RegressedNeighborAlignment",
    "Table",
    "Tables",
    "Views",
    "alignment_directions",
    "direction_policy",
    "sinkhorn",
]
