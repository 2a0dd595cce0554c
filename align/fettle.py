"""FETTLE: item-level and cluster-level alignment steered by feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from .base import ALIGNERS, Alignment, Table
from .cluster import CLALoss
from .functional import unit_rows
from .item import ILALoss
from .rows import ItemViews, Pairs, full_precision, read_rows


@ALIGNERS.register("fettle", paper="FETTLE, SIGIR 2024")
class FETTLE(Alignment):
    """Feedback-oriented item-level and cluster-level alignment.

    `ila_weight (ILA + DT) + cla_weight CLA` (FETTLE eq. 11). Only the distinct rows of the batch
    are projected, read and compared. Maps, prototypes and projectors start Xavier-uniform.

    Args:
        dim: width of the representations.
        modalities: names of the content modalities.
        feature_dims: widths of the features this alignment projects itself, by modality.
        missing: `(n_items,)` masks of items that lack a modality, by modality.
        ila_weight: weight of item-level alignment and direction tuning; try 1e-4 to 1e-1.
        cla_weight: weight of cluster-level alignment; try 1e-5 to 1e-1.
        ila_temperature: initial temperature of item-level alignment, 0.05 to 0.25; learnt.
        cla_temperature: initial temperature of cluster-level alignment, 0.1 to 0.5; learnt.
        n_prototypes: rows of each of the two codebooks; the paper uses 10240 and more.
        leaky_bi: use CROSS's dynamic rule for directions instead of the one-way rule.
    """

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        *,
        ila_weight: float = 0.01,
        cla_weight: float = 0.001,
        ila_temperature: float = 0.1,
        cla_temperature: float = 0.2,
        n_prototypes: int = 256,
        leaky_bi: bool = False,
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        self.ila = ILALoss(dim, ila_temperature, leaky_bi, modalities)
        self.cla = CLALoss(n_prototypes, dim, cla_temperature, modalities)
        self.ila_weight = ila_weight
        self.cla_weight = cla_weight

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
        pairs = Pairs.of(users, items)
        views = ItemViews.gather(item, self.content(modalities), pairs.items, self.missing_masks())
        user_rows = unit_rows(read_rows(user, pairs.users))
        ila = self.ila.on_rows(user_rows, views, pairs)
        cla = self.cla.on_rows(user_rows, views, pairs)
        return {
            "ila": self.ila_weight * ila["ila"],
            "dt": self.ila_weight * ila["dt"],
            "cla_user_item": self.cla_weight * cla["user_item"],
            "cla_modalities": self.cla_weight * cla["modalities"],
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """Share of the last batch's items per direction, and the learnt temperatures, detached."""
        return {**self.ila.diagnostics(), **self.cla.diagnostics()}
