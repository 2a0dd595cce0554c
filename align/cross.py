"""CROSS: FETTLE with a dynamic choice of directions, and alignment with neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..tensors.functional import full_precision
from ..tensors.tables import Table, Tables
from .base import ALIGNERS, Alignment
from .batch_rows import BatchRows
from .cluster import CLALoss, refit_codes
from .codes import Codes
from .item import ILALoss
from .neighbor import CNALoss
from .parts import cluster_terms, item_terms, neighbor_terms, required_neighbors
from .policies import DirectionPolicy, Directions, Feedback, Spread, SpreadOver, ThetaOf
from .rows import require_same_items


@ALIGNERS.register("cross", paper="CROSS, 2026 (extends FETTLE, SIGIR 2024)")
class CROSS(Alignment):
    """Dynamic item-level, cluster-level and neighbour-level alignment.

    `ila_weight ILA + dt_weight DT + cla_weight CLA + cna_weight (CNA + cna_reg_weight REG)`. Rows
    of the batch's distinct items and of their neighbours are read and projected once. Maps,
    prototypes and projectors start Xavier-uniform. A weight of 0 switches a part off.

    Args:
        dim, modalities, feature_dims, missing: the data, as in `Alignment`.
        neighbors: `(n_items, k)` ids of the items of most similar feedback, -1 where fewer.
        ila_weight: weight of item-level alignment; try 1e-4 to 1e-1.
        dt_weight: weight of direction tuning; None takes that of item-level alignment.
        cla_weight: weight of cluster-level alignment; try 1e-5 to 1e-1.
        cna_weight: weight of neighbour-level alignment; try 1e-4 to 1e-1.
        ila_temperature: initial temperature of item-level alignment, 0.05 to 0.25; learnt.
        cla_temperature: initial temperature of cluster-level alignment, 0.1 to 0.5; learnt.
        learn_temperatures: False keeps both temperatures constant, as FETTLE's paper says.
        cna_temperature: temperature of neighbour-level alignment, 0.1 to 0.5; constant.
        cna_reduction: weigh all neighbour ranks alike (mean) or learn the weights (param_attn).
        cna_reg_weight: weight of the squared norm of neighbour means, inside cna_weight.
        n_prototypes: rows of each of the two codebooks; the paper uses 10240 and more.
        n_prototypes_user_item: rows of the codebook of users and items, if not n_prototypes too.
        codes: cluster codes: sinkhorn balances the batch, kmeans clusters before each epoch.
        code_temperature: of the softmax of kmeans codes; 0 takes the nearest centroid alone.
        leaky_bi: use the dynamic rule for directions; False gives FETTLE's one-way rule.
        directions: name of the rule for directions, instead of leaky_bi.
        theta: score above which the rule threshold opens the reverse direction too.
        theta_of: whose score that is: source, target or either.
        spread: uncertainty of the rule dynamic: variance or std.
        spread_over: of the scores of the batch's items, or of those of each item's users.
        compensate_both: let the rule dynamic compensate the source's score too.
        spread_decay: share that the rule dynamic keeps of earlier batches' spread, below 1.
        feedback: what directions compare, mean cosines or the paper's mean inner_product.
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
        dt_weight: float | None = None,
        cla_weight: float = 0.001,
        cna_weight: float = 0.01,
        ila_temperature: float = 0.1,
        cla_temperature: float = 0.2,
        learn_temperatures: bool = True,
        cna_temperature: float = 0.2,
        cna_reduction: Literal["mean", "param_attn"] = "mean",
        cna_reg_weight: float = 0.0,
        n_prototypes: int = 256,
        n_prototypes_user_item: int | None = None,
        codes: Codes = "sinkhorn",
        code_temperature: float = 0.0,
        leaky_bi: bool = True,
        directions: Directions | None = None,
        theta: float = 0.9,
        theta_of: ThetaOf = "source",
        spread: Spread = "variance",
        spread_over: SpreadOver = "batch",
        compensate_both: bool = False,
        spread_decay: float = 0.0,
        feedback: Feedback = "cosine",
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        neighbors = required_neighbors(neighbors, "cross")
        self.ila = ILALoss(
            dim,
            ila_temperature,
            leaky_bi,
            modalities,
            directions=directions,
            theta=theta,
            theta_of=theta_of,
            spread=spread,
            spread_over=spread_over,
            compensate_both=compensate_both,
            spread_decay=spread_decay,
            feedback=feedback,
            learn_temperature=learn_temperatures,
        )
        self.cla = CLALoss(
            n_prototypes,
            dim,
            cla_temperature,
            modalities,
            K_user_item=n_prototypes_user_item,
            codes=codes,
            code_temperature=code_temperature,
            learn_temperature=learn_temperatures,
        )
        self.cna = CNALoss(neighbors, cna_temperature, cna_reduction, cna_reg_weight, modalities)
        self.ila_weight = ila_weight
        self.dt_weight = ila_weight if dt_weight is None else dt_weight
        self.cla_weight = cla_weight
        self.cna_weight = cna_weight

    def begin_epoch(self, epoch: int, rng: torch.Generator, tables: Callable[[], Tables]) -> None:
        """Find the centroids of k-means codes anew."""
        refit_codes(self.cla, self, rng, tables)

    def reach(self, items: Tensor) -> Tensor:
        """The items and all their neighbours."""
        return self.cna.reach(items)

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
        require_same_items(item, self.cna.neighbors)
        rows = BatchRows.read(self, user, item, modalities, users, items)
        clusters = cluster_terms(self.cla, rows, self.cla_weight)
        around = neighbor_terms(self.cna, rows, self.cna_weight)
        return {
            **item_terms(self.ila, rows, self.ila_weight, self.dt_weight),
            **{f"cla_{name}": term for name, term in clusters.items()},
            **{"cna_reg" if name == "reg" else name: term for name, term in around.items()},
        }

    @property
    def policy(self) -> DirectionPolicy:
        """The rule that opens directions."""
        return self.ila.policy

    def diagnostics(self) -> dict[str, Tensor]:
        """Share of the last batch's items per direction, and the learnt temperatures, detached."""
        return {**self.ila.diagnostics(), **self.cla.diagnostics()}
