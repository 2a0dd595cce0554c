"""The three losses of FETTLE and CROSS as alignments of their own, alone or in a composition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..errors import ConfigError
from ..tensors.functional import full_precision
from ..tensors.tables import Table, Tables
from .base import ALIGNERS, Alignment
from .batch_rows import BatchRows
from .cluster import CLALoss, refit_codes
from .codes import Codes
from .item import ILALoss
from .neighbor import CNALoss
from .policies import DirectionPolicy, Directions, Feedback, Spread, SpreadOver, ThetaOf
from .rows import require_same_items


def item_terms(
    ila: ILALoss, rows: BatchRows, ila_weight: float, dt_weight: float
) -> dict[str, Tensor]:
    """Weighted `ila` and `dt`; one of weight 0 is left out."""
    weights = {"ila": ila_weight, "dt": dt_weight}
    if not any(weights.values()):
        return {}
    terms = ila.on_rows(rows.user_rows, rows.user_lengths, rows.views, rows.pairs)
    return {name: weight * terms[name] for name, weight in weights.items() if weight}


def cluster_terms(cla: CLALoss, rows: BatchRows, weight: float) -> dict[str, Tensor]:
    """Weighted `user_item` and `modalities`; nothing for weight 0."""
    if not weight:
        return {}
    terms = cla.on_rows(rows.user_rows, rows.views, rows.pairs)
    return {name: weight * term for name, term in terms.items()}


def neighbor_terms(cna: CNALoss, rows: BatchRows, weight: float) -> dict[str, Tensor]:
    """Weighted `cna` and `reg`; nothing for weight 0."""
    if not weight:
        return {}
    terms = cna.on_rows(rows.around, rows.reach, rows.pairs.items)
    return {name: weight * term for name, term in terms.items()}


@ALIGNERS.register("ila", paper="FETTLE, SIGIR 2024, eq. 3-6; CROSS, 2026")
class ItemAlignment(Alignment):
    """Item-level alignment with direction tuning, under any rule for directions.

    See `ILALoss`, and `policies` for the rules.

    Args:
        dim, modalities, feature_dims, missing: the data, as in `Alignment`.
        weight: weight of item-level alignment; try 1e-4 to 1e-1.
        dt_weight: weight of direction tuning; None takes that of item-level alignment.
        temperature: initial temperature, 0.05 to 0.25; learnt.
        learn_temperature: False keeps the temperature constant.
        directions: rule: one_way, dynamic, threshold, bidirectional, topmost or random.
        theta: score above which the rule threshold opens the reverse direction too.
        theta_of: whose score that is: source, target or either.
        spread: uncertainty of the rule dynamic: variance or std.
        spread_over: of the scores of the batch's items, or of those of each item's users.
        compensate_both: let the rule dynamic compensate the source's score too.
        spread_decay: share that the rule dynamic keeps of earlier batches' spread, below 1.
        feedback: what directions compare, mean cosines or the paper's mean inner_product.
    """

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        *,
        weight: float = 0.01,
        dt_weight: float | None = None,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        directions: Directions = "one_way",
        theta: float = 0.9,
        theta_of: ThetaOf = "source",
        spread: Spread = "variance",
        spread_over: SpreadOver = "batch",
        compensate_both: bool = False,
        spread_decay: float = 0.0,
        feedback: Feedback = "cosine",
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        self.ila = ILALoss(
            dim,
            temperature,
            modalities=modalities,
            directions=directions,
            theta=theta,
            theta_of=theta_of,
            spread=spread,
            spread_over=spread_over,
            compensate_both=compensate_both,
            spread_decay=spread_decay,
            feedback=feedback,
            learn_temperature=learn_temperature,
        )
        self.weight = weight
        self.dt_weight = weight if dt_weight is None else dt_weight

    @full_precision
    def terms(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted `ila` and `dt`; arguments as in the base."""
        rows = BatchRows.read(self, user, item, modalities, users, items)
        return item_terms(self.ila, rows, self.weight, self.dt_weight)

    @property
    def policy(self) -> DirectionPolicy:
        """The rule that opens directions."""
        return self.ila.policy

    def diagnostics(self) -> dict[str, Tensor]:
        """Share of the last batch's items per direction, and the temperature, detached."""
        return self.ila.diagnostics()


@ALIGNERS.register("cla", paper="FETTLE, SIGIR 2024, eq. 7-9")
class ClusterAlignment(Alignment):
    """Cluster-level alignment of users with items, and of the modalities with each other.

    See `CLALoss`.

    Args:
        dim, modalities, feature_dims, missing: the data, as in `Alignment`.
        weight: weight of both parts; try 1e-5 to 1e-1.
        temperature: initial temperature, 0.1 to 0.5; learnt.
        learn_temperature: False keeps the temperature constant.
        n_prototypes: rows of each of the two codebooks; the paper uses 10240 and more.
        n_prototypes_user_item: rows of the codebook of users and items, if not n_prototypes too.
        codes: cluster codes: sinkhorn balances the batch, kmeans clusters before each epoch.
        code_temperature: of the softmax of kmeans codes; 0 takes the nearest centroid alone.
    """

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        *,
        weight: float = 0.001,
        temperature: float = 0.2,
        learn_temperature: bool = True,
        n_prototypes: int = 256,
        n_prototypes_user_item: int | None = None,
        codes: Codes = "sinkhorn",
        code_temperature: float = 0.0,
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        self.cla = CLALoss(
            n_prototypes,
            dim,
            temperature,
            modalities,
            K_user_item=n_prototypes_user_item,
            codes=codes,
            code_temperature=code_temperature,
            learn_temperature=learn_temperature,
        )
        self.weight = weight

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
        """Weighted `user_item` and `modalities`; arguments as in the base."""
        rows = BatchRows.read(self, user, item, modalities, users, items)
        return cluster_terms(self.cla, rows, self.weight)

    def diagnostics(self) -> dict[str, Tensor]:
        """The temperature, detached."""
        return self.cla.diagnostics()


@ALIGNERS.register("cna", paper="CROSS, 2026")
class NeighborAlignment(Alignment):
    """Neighbour-level alignment of each item with the items of similar feedback.

    See `CNALoss`.

    Args:
        dim, modalities, feature_dims, missing: the data, as in `Alignment`.
        neighbors: `(n_items, k)` ids of the items of most similar feedback, -1 where fewer.
        weight: weight of the contrast and its regulariser; try 1e-4 to 1e-1.
        reg_weight: weight of the squared norm of neighbour means, inside weight.
        temperature: 0.1 to 0.5; constant.
        reduction: weigh all neighbour ranks alike (mean) or learn the weights (param_attn).
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
        weight: float = 0.01,
        reg_weight: float = 0.0,
        temperature: float = 0.2,
        reduction: Literal["mean", "param_attn"] = "mean",
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        table = required_neighbors(neighbors, "cna")
        self.cna = CNALoss(table, temperature, reduction, reg_weight, modalities)
        self.weight = weight

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
        """Weighted `cna` and `reg`; arguments as in the base."""
        require_same_items(item, self.cna.neighbors)
        rows = BatchRows.read(self, user, item, modalities, users, items)
        return neighbor_terms(self.cna, rows, self.weight)


def required_neighbors(neighbors: Tensor | None, who: str) -> Tensor:
    """`neighbors`, or the error that says where to get them."""
    if neighbors is None:
        raise ConfigError(
            f"alignment '{who}' needs neighbors, an (n_items, k) table of item ids: compute it "
            "with graphs.cooccurrence_neighbors or `crossalign neighbors`"
        )
    return neighbors
