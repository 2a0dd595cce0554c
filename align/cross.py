"""CROSS: FETTLE with a dynamic choice of directions, and alignment with neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import ALIGNERS
from .fettle import FETTLE
from .neighbor import CNALoss, Reduction


@ALIGNERS.register("cross", paper="CROSS, 2026 (extends FETTLE, SIGIR 2024)")
@dataclass(kw_only=True, eq=False, repr=False)
class CROSS(FETTLE):
    """Dynamic item-level, cluster-level and neighbour-level alignment.

    FETTLE's loss with the dynamic rule, `+ cna_weight (CNA + cna_reg_weight REG)`. Rows of the
    batch's distinct items and of their neighbours are read and projected once. A weight of 0
    switches a part off.

    Args:
        cna_weight: weight of neighbour-level alignment; try 1e-4 to 1e-1.
        cna_temperature: temperature of neighbour-level alignment, 0.1 to 0.5; constant.
        cna_reduction: weigh all neighbour ranks alike (mean) or learn the weights (param_attn).
        cna_reg_weight: weight of the squared norm of neighbour means, inside cna_weight.
    """

    needs_neighbors: ClassVar[bool] = True

    leaky_bi: bool = True
    cna_weight: float = 0.01
    cna_temperature: float = 0.2
    cna_reduction: Reduction = "mean"
    cna_reg_weight: float = 0.0

    def __post_init__(self, *data: Any) -> None:
        super().__post_init__(*data)
        how = self.cna_temperature, self.cna_reduction, self.cna_reg_weight, self.modalities
        self.cna = CNALoss(data[-1], *how)
        self.weigh("cna", self.cna_weight)
