"""Backbones: recommenders that turn graphs and ids into representations and their own loss."""

from ..tensors.representations import Representations
from .alignrec import AlignRec
from .base import BACKBONES, Backbone, Batch
from .bm3 import BM3
from .bpr import BPR
from .crane import CRANE
from .crane_released import CRANEReleased
from .directau import DirectAU
from .dualgnn import DualGNN
from .freedom import FREEDOM
from .grcn import GRCN
from .lattice import LATTICE
from .lightgcn import LightGCN
from .ncl import NCL
from .sgl import SGL
from .slmrec import SLMRec
from .vbpr import VBPR

__all__ = [
    "BACKBONES",
    "BM3",
    "BPR",
    "CRANE",
    "FREEDOM",
    "GRCN",
    "LATTICE",
    "NCL",
    "SGL",
    "VBPR",
    "AlignRec",
    "Backbone",
    "Batch",
    "CRANEReleased",
    "DirectAU",
    "DualGNN",
    "LightGCN",
    "Representations",
    "SLMRec",
]
