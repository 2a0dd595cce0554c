"""CROSS: FETTLE with a dynamic choice of directions, and alignment with neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..errors import ConfigError
from .base import ALIGNERS, Alignment, Table
from .cluster import CLALoss
from .functional import unit_rows
from .item import ILALoss
from .neighbor import CNALoss
from .rows import ItemViews, Pairs, full_precision, read_rows


@ALIGNERS.register("cross", paper="CROSS, 2026 (extends FETTLE, SIGIR 2024)")
class CROSS(Alignment):
    """Dynamic item-level, cluster-level and neighbour-level alignment.

    `ila_weight (ILA + DT) + cla_weight CLA + cna_weight (CNA + cna_reg_weight REG)`. Rows of the
    batch's distinct items and of their neighbours are read and projected once. Maps, prototypes
    and projectors start Xavier-uniform.

    Args:
        dim: width of the representations.
        modalities: names of the content modalities.
        feature_dims: widths of the features this alignment projects itself, by modality.
        missing: `(n_items,)` masks of items that lack a modality, by modality.
        neighbors: `(n_items, k)` ids of the items of most similar feedback, -1 where fewer.
        ila_weight: weight of item-level alignment and direction tuning; try 1e-4 to 1e-1.
        cla_weight: weight of cluster-level alignment; try 1e-5 to 1e-1.
        cna_weight: weight of neighbour-level alignment; try 1e-4 to 1e-1.
        ila_temperature: initial temperature of item-level alignment, 0.05 to 0.25; learnt.
        cla_temperature: initial temperature of cluster-level alignment, 0.1 to 0.5; learnt.
        cna_temperature: temperature of neighbour-level alignment, 0.1 to 0.5; constant.
        cna_reduction: weigh all neighbour ranks alike (mean) or learn the weights (param_attn).
        cna_reg_weight: weight of the squared norm of neighbour means, inside cna_weight.
        n_prototypes: rows of each of the two codebooks; the paper uses 10240 and more.
        leaky_bi: use the dynamic rule for directions; False gives FETTLE's one-way rule.
    """

    needs_neighbors: ClassVar[bool] = True

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        neighbors: Tensor | None = None,
        *,
        ila_weight: float = 0.01,
        cla_weight: float = 0.001,
        cna_weight: float = 0.01,
        ila_temperature: float = 0.1,
        cla_temperature: float = 0.2,
        cna_temperature: float = 0.2,
        cna_reduction: Literal["mean", "param_attn"] = "mean",
        cna_reg_weight: float = 0.0,
        n_prototypes: int = 256,
        leaky_bi: bool = True,
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        if neighbors is None:
            raise ConfigError(
                "CROSS needs neighbors, an (n_items, k) table of item ids: compute it with "
                "graphs.cooccurrence_neighbors or `crossalign neighbors`"
            )
        self.ila = ILALoss(dim, ila_temperature, leaky_bi, modalities)
        self.cla = CLALoss(n_prototypes, dim, cla_temperature, modalities)
        self.cna = CNALoss(neighbors, cna_temperature, cna_reduction, cna_reg_weight, modalities)
        self.ila_weight = ila_weight
        self.cla_weight = cla_weight
        self.cna_weight = cna_weight

    @full_precision
    def terms(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted `ila`, `dt`, `cla_user_item`, `cla_modalities`, `cna` and `cna_reg`."""
        pairs = Pairs.of(users, items)
        reach = self.cna.reach(pairs.items)
        around = ItemViews.gather(item, self.content(modalities), reach, self.missing_masks())
        views = around.select(torch.searchsorted(reach, pairs.items))
        user_rows = unit_rows(read_rows(user, pairs.users))
        ila = self.ila.on_rows(user_rows, views, pairs)
        cla = self.cla.on_rows(user_rows, views, pairs)
        cna = self.cna.on_rows(around, reach, pairs.items)
        return {
            "ila": self.ila_weight * ila["ila"],
            "dt": self.ila_weight * ila["dt"],
            "cla_user_item": self.cla_weight * cla["user_item"],
            "cla_modalities": self.cla_weight * cla["modalities"],
            "cna": self.cna_weight * cna["cna"],
            "cna_reg": self.cna_weight * cna["reg"],
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """Share of the last batch's items per direction, and the learnt temperatures, detached."""
        return {**self.ila.diagnostics(), **self.cla.diagnostics()}
