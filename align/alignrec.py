"""AlignRec as an alignment: content against ids, for items and users, and users against items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import require_positive_temperature
from ..tensors.functional import unit_rows
from ..tensors.tables import rows_of
from .base import ALIGNERS, Alignment
from .batch import Batch
from .infonce import directed_infonce


@ALIGNERS.register("alignrec", paper="Liu et al., AlignRec, CIKM 2024")
class AlignRecAlignment(Alignment):
    """InfoNCE from content to representations (CCA) and cosine of users and items (UIA).

    AlignRec's are the terms: `InfoNCE(content, id)` for items and for users, content the anchor,
    and `1 - cos(user, item)`, a mean over the positive pairs; both sides move. Its backbone has
    one unified content, propagated to the users, and ids apart from the representations. Ours is
    the rest, so that any backbone will do: the representations stand for the ids; a user's
    content is the mean of the unit content rows of their items in the batch; several modalities
    are aligned one by one and averaged; anchors and candidates of CCA are the distinct items and
    users of the batch, so that a repeated one is not its own negative. AlignRec's similarity
    regulariser and stage 1 belong to its backbone and encoder.

    An item that lacks a modality is no anchor and adds nothing to the content of its users; a
    user without any content is no anchor.

    Args:
        cca_weight: weight of content against representations; try 1e-4 to 1e-1.
        uia_weight: weight of users against items; 0.1 in the published runs.
        temperature: of CCA, constant.
        symmetric: mean of both directions of CCA; else content is the anchor, as published.

    Attributes:
        temperature: scalar parameter, frozen.
    """

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        *,
        cca_weight: float = 0.01,
        uia_weight: float = 0.1,
        temperature: float = 0.2,
        symmetric: bool = False,
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        require_positive_temperature("AlignRec's CCA", temperature)
        self.cca_weight = cca_weight
        self.uia_weight = uia_weight
        self.temperature = nn.Parameter(torch.tensor(float(temperature)), requires_grad=False)
        self.symmetric = symmetric

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted `uia`, and `cca_item_<m>` and `cca_user_<m>` for each modality m."""
        views, user_rows = batch.views, batch.user_rows
        of_users, of_items = batch.users.of, batch.items.of
        matched = rows_of(user_rows, of_users) * rows_of(views.rows[0], of_items)
        uia = (1 - matched.sum(1)).sum() / max(len(batch), 1)
        terms = {"uia": self.uia_weight * uia}
        weight = self.cca_weight / len(self.modalities)
        for m, name in enumerate(self.modalities, start=1):
            content, has = views.rows[m], None if views.present is None else views.present[m]
            terms[f"cca_item_{name}"] = weight * self._contrast(content, views.rows[0], has)
            content, has = user_content(content, batch), _have_content(batch, has)
            terms[f"cca_user_{name}"] = weight * self._contrast(content, user_rows, has)
        return terms

    def _contrast(self, content: Tensor, own: Tensor, has: Tensor | None) -> Tensor:
        """InfoNCE from the content of the nodes that have it, `(n,)` bool, to their own rows."""
        both = None if has is None else torch.stack([has, torch.ones_like(has)])
        loss = directed_infonce(content, own, self.temperature, both)
        if not self.symmetric:
            return loss
        both = None if both is None else both.flip(0)
        return (loss + directed_infonce(own, content, self.temperature, both)) / 2


def user_content(content: Tensor, batch: Batch) -> Tensor:
    """Direction of the mean content of each distinct user's items, `(n_distinct_users, dim)`.

    Args:
        content: `(n_distinct_items, dim)` unit rows, zero where an item has none.
        batch: the positive pairs.
    """
    total = content.new_zeros(len(batch.users.ids), content.shape[1])
    return unit_rows(total.index_add(0, batch.users.of, rows_of(content, batch.items.of)))


def _have_content(batch: Batch, has: Tensor | None) -> Tensor | None:
    """Which distinct users, `(n_distinct_users,)` bool, have an item with content."""
    if has is None:
        return None
    found = torch.zeros_like(batch.users.ids)
    return found.index_add(0, batch.users.of, has[batch.items.of].to(found)) > 0
