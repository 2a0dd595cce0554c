"""FETTLE: item-level and cluster-level alignment steered by feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .base import ALIGNERS, Alignment, shared
from .cluster import ClusterOptions
from .directions import DirectionOptions
from .item import ILALoss, ItemOptions


@ALIGNERS.register("fettle", paper="FETTLE, SIGIR 2024")
@dataclass(kw_only=True, eq=False, repr=False)
class FETTLE(Alignment, ItemOptions, ClusterOptions):
    """Feedback-oriented item-level and cluster-level alignment.

    `ila_weight ILA + dt_weight DT + cla_weight CLA` (FETTLE eq. 11). Only the distinct rows of the
    batch are projected, read and compared. Maps, prototypes and projectors start Xavier-uniform.
    A weight of 0 switches a part off (the paper's Table 3).

    Args:
        ila_weight: weight of item-level alignment; try 1e-4 to 1e-1.
        cla_weight: weight of cluster-level alignment; try 1e-5 to 1e-1.
        ila_temperature: initial temperature of item-level alignment, 0.05 to 0.25; learnt.
        cla_temperature: initial temperature of cluster-level alignment, 0.1 to 0.5; learnt.
        learn_temperatures: False keeps both temperatures constant, as FETTLE's paper says.
        leaky_bi: CROSS's dynamic rule for directions; False is FETTLE's one-way rule.
    """

    ila_weight: float = 0.01
    cla_weight: float = 0.001
    ila_temperature: float = 0.1
    cla_temperature: float = 0.2
    learn_temperatures: bool = True
    leaky_bi: bool = False

    def __post_init__(self, *data: Any) -> None:
        super().__post_init__(*data)
        learnt = self.learn_temperatures
        self.ila = ILALoss(
            self.dim,
            self.ila_temperature,
            self.leaky_bi,
            self.modalities,
            learn_temperature=learnt,
            **shared(self, DirectionOptions),
        )
        self.cla = self.make_loss(self.dim, self.cla_temperature, self.modalities, learnt)
        self.weigh("ila", **self.item_weights(self.ila_weight))
        self.weigh("cla", self.cla_weight)
