"""FETTLE: item-level and cluster-level alignment steered by feedback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..tensors.functional import full_precision
from ..tensors.tables import Table, Tables
from .base import ALIGNERS, Alignment
from .batch_rows import BatchRows
from .cluster import CLALoss, refit_codes
from .codes import Codes
from .item import ILALoss
from .parts import cluster_terms, item_terms
from .policies import DirectionPolicy, Directions, Feedback, ThetaOf


@ALIGNERS.register("fettle", paper="FETTLE, SIGIR 2024")
class FETTLE(Alignment):
    """Feedback-oriented item-level and cluster-level alignment.

    `ila_weight ILA + dt_weight DT + cla_weight CLA` (FETTLE eq. 11). Only the distinct rows of the
    batch are projected, read and compared. Maps, prototypes and projectors start Xavier-uniform.
    A weight of 0 switches a part off (the paper's Table 3).

    Args:
        dim, modalities, feature_dims, missing: the data, as in `Alignment`.
        ila_weight: weight of item-level alignment; try 1e-4 to 1e-1.
        dt_weight: weight of direction tuning; None takes that of item-level alignment.
        cla_weight: weight of cluster-level alignment; try 1e-5 to 1e-1.
        ila_temperature: initial temperature of item-level alignment, 0.05 to 0.25; learnt.
        cla_temperature: initial temperature of cluster-level alignment, 0.1 to 0.5; learnt.
        learn_temperatures: False keeps both temperatures constant, as the paper says.
        n_prototypes: rows of each of the two codebooks; the paper uses 10240 and more.
        n_prototypes_user_item: rows of the codebook of users and items, if not n_prototypes too.
        codes: cluster codes: sinkhorn balances the batch, kmeans clusters before each epoch.
        code_temperature: of the softmax of kmeans codes; 0 takes the nearest centroid alone.
        leaky_bi: use CROSS's dynamic rule for directions instead of the one-way rule.
        directions: name of the rule for directions, instead of leaky_bi.
        theta: score above which the rule threshold opens the reverse direction too.
        theta_of: whose score that is: source, target or either.
        feedback: what directions compare, mean cosines or the paper's mean inner_product.
    """

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        *,
        ila_weight: float = 0.01,
        dt_weight: float | None = None,
        cla_weight: float = 0.001,
        ila_temperature: float = 0.1,
        cla_temperature: float = 0.2,
        learn_temperatures: bool = True,
        n_prototypes: int = 256,
        n_prototypes_user_item: int | None = None,
        codes: Codes = "sinkhorn",
        code_temperature: float = 0.0,
        leaky_bi: bool = False,
        directions: Directions | None = None,
        theta: float = 0.9,
        theta_of: ThetaOf = "source",
        feedback: Feedback = "cosine",
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        self.ila = ILALoss(
            dim,
            ila_temperature,
            leaky_bi,
            modalities,
            directions=directions,
            theta=theta,
            theta_of=theta_of,
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
        self.ila_weight = ila_weight
        self.dt_weight = ila_weight if dt_weight is None else dt_weight
        self.cla_weight = cla_weight

    def begin_epoch(self, epoch: int, rng: torch.Generator, tables: Callable[[], Tables]) -> None:
        """Find the centroids of k-means codes anew."""
        refit_codes(self.cla, self, rng, tables)

    @full_precision
    def terms(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted `ila`, `dt`, `cla_user_item` and `cla_modalities`; arguments as in the base."""
        rows = BatchRows.read(self, user, item, modalities, users, items)
        clusters = cluster_terms(self.cla, rows, self.cla_weight)
        return {
            **item_terms(self.ila, rows, self.ila_weight, self.dt_weight),
            **{f"cla_{name}": term for name, term in clusters.items()},
        }

    @property
    def policy(self) -> DirectionPolicy:
        """The rule that opens directions."""
        return self.ila.policy

    def diagnostics(self) -> dict[str, Tensor]:
        """Share of the last batch's items per direction, and the learnt temperatures, detached."""
        return {**self.ila.diagnostics(), **self.cla.diagnostics()}
