"""Alignment losses: the published ones, any number of modalities, at batch cost.

Depends on torch alone, so that it can be lifted into any project together with `registry.py` and
`errors.py`. Where to look: `item.py`, `cluster.py` and `neighbor.py` are the three losses,
`fettle.py` and `cross.py` bundle them, `infonce.py`, `bm3.py` and `alignrec.py` are other ways,
`composed.py` is any of them together, `policies.py`, `dynamic.py` and `rules.py` say who learns
from whom, `functional.py` is the fast core.
"""

from ..tensors.tables import Projected, Table, Tables
from .alignrec import AlignRecAlignment
from .base import ALIGNERS, Alignment
from .bm3 import BM3Alignment
from .cluster import CLALoss
from .composed import Composed
from .cross import CROSS
from .directions import alignment_directions, catalogue_scores
from .fettle import FETTLE
from .infonce import InfoNCE, InfoNCELoss
from .item import ILALoss
from .neighbor import CNALoss
from .parts import ClusterAlignment, ItemAlignment, NeighborAlignment
from .policies import DirectionPolicy
from .rules import direction_policy
from .sinkhorn import sinkhorn

__all__ = [
    "ALIGNERS",
    "CROSS",
    "FETTLE",
    "AlignRecAlignment",
    "Alignment",
    "BM3Alignment",
    "CLALoss",
    "CNALoss",
    "ClusterAlignment",
    "Composed",
    "DirectionPolicy",
    "ILALoss",
    "InfoNCE",
    "InfoNCELoss",
    "ItemAlignment",
    "NeighborAlignment",
    "Projected",
    "Table",
    "Tables",
    "alignment_directions",
    "catalogue_scores",
    "direction_policy",
    "sinkhorn",
]
