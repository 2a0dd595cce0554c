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
from .lgmrec import LGMRec
from .lightgcn import LightGCN
from .lirdrec import LIRDRec
from .mgcn import MGCN
from .mmgcn import MMGCN
from .ncl import NCL
from .rearm import REARM
from .sgl import SGL
from .slmrec import SLMRec
from .smore import SMORE
from .vbpr import VBPR

__all__ = [
    "BACKBONES",
    "BM3",
    "BPR",
    "CRANE",
    "FREEDOM",
    "GRCN",
    "LATTICE",
    "MGCN",
    "MMGCN",
    "NCL",
    "REARM",
    "SGL",
    "SMORE",
    "VBPR",
    "AlignRec",
    "Backbone",
    "Batch",
    "CRANEReleased",
    "DirectAU",
    "DualGNN",
    "LGMRec",
    "LIRDRec",
    "LightGCN",
    "Representations",
    "SLMRec",
]
