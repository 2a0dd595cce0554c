"""InfoNCE between every two views of an item, in both directions: the bidirectional baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, require_positive_temperature
from ..tensors.functional import contrastive_sum, full_precision
from ..tensors.ids import Repeated
from ..tensors.tables import Table
from .base import ALIGNERS, Alignment, check_modalities
from .rows import ItemViews, Missing, missing_masks

TEMPERATURES = (0.01, 1.0)
"""Bounds of a learnt temperature."""


def directed_infonce(
    source: Tensor,
    target: Tensor,
    temperature: Tensor,
    present: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of finding each row of `source` again among those of `target`.

    Args:
        source: `(n, dim)` unit rows, the anchors.
        target: `(n, dim)` unit rows of the same nodes, the candidates.
        temperature: positive scalar.
        present: `(2, n)` bool, which nodes have a source and a target. Those that have both are
            anchors, all that have a target are candidates; None when nothing is missing.

    Returns:
        Scalar, 0 when there are no anchors.
    """
    own = torch.arange(len(source), device=source.device)
    if present is None:
        return contrastive_sum(source, target, own, temperature) / max(len(own), 1)
    both = present.all(0).to(source.dtype)
    found = contrastive_sum(source, target, own, temperature, both, allowed=present[1])
    return found / both.sum().clamp_min(1)


class InfoNCELoss(nn.Module):
    """Every two views of an item find each other among the items of the batch.

    FETTLE (SIGIR 2024) eq. 1, `L_{a->b} + L_{b->a}`, is for two content modalities; this takes
    any number of them and the item representation, and adds up all unordered pairs. Each
    direction is a mean over the distinct items of the batch that have both views, so a repeated
    item is not its own negative, with cosines over `temperature` as logits. Nothing is detached.

    Three lines, and no backbone is asked for anything but its tables::

        infonce = InfoNCELoss(temperature=0.2)
        loss += weight * infonce(i_emb, v_emb, t_emb, pos_item)

    Args:
        temperature: of the softmax, or its initial value.
        learn_temperature: learn the temperature, kept in [0.01, 1]; else it stays as given.
        include_id: whether the item table takes part, or content modalities only.
        modalities: names of the content tables, in the order of the call.

    Attributes:
        temperature: scalar parameter, frozen unless it is learnt.

    Raises:
        ConfigError: names are empty, repeated or `id`, or there is only one view to align.
    """

    def __init__(
        self,
        temperature: float = 0.2,
        learn_temperature: bool = False,
        include_id: bool = True,
        modalities: Sequence[str] = ("image", "text"),
    ) -> None:
        super().__init__()
        check_modalities(modalities)
        if len(modalities) + include_id < 2:
            raise ConfigError(
                f"modality '{modalities[0]}' alone has nothing to align with: leave include_id "
                "on, or give two modalities"
            )
        self.modalities = tuple(modalities)
        require_positive_temperature("InfoNCE", temperature)
        self.include_id = include_id
        self.temperature = nn.Parameter(
            torch.tensor(float(temperature)), requires_grad=learn_temperature
        )

    def forward(self, item: Tensor, *tables: Any, missing: Missing = None) -> Tensor:
        """Sum of `terms`, a scalar; arguments as there."""
        return torch.stack(list(self.terms(item, *tables, missing=missing).values())).sum()

    @full_precision
    def terms(self, item: Tensor, *tables: Any, missing: Missing = None) -> dict[str, Tensor]:
        """Both directions of every pair, by name: `id_image`, `image_text`, ...

        Args:
            item: `(n_items, dim)`, the `id` modality.
            tables: one `(n_items, dim)` table per content modality, then `items`, `(batch,)`
                int64.
            missing: `(n_items,)` bool masks of items that lack a modality, by name or in order.

        Raises:
            ConfigError: the number of content tables differs from `modalities`.
        """
        *content, items = tables
        if len(content) != len(self.modalities):
            raise ConfigError(
                f"InfoNCELoss was built for {len(self.modalities)} content modalities "
                f"({', '.join(self.modalities)}) and called with {len(content)} tables"
            )
        masks = missing_masks(missing, self.modalities, len(content))
        return self.on_rows(ItemViews.gather(item, content, Repeated.of_batch(items).ids, masks))

    def on_rows(self, views: ItemViews) -> dict[str, Tensor]:
        """The loss on rows that are gathered and normalised already."""
        temperature: Tensor = self.temperature
        if temperature.requires_grad:
            with torch.no_grad():
                temperature.clamp_(*TEMPERATURES)
            # A copy, because the next call's clamp must not touch what this call's graph saved.
            temperature = temperature.clone()
        names = ("id", *self.modalities)
        terms = {}
        for pair in combinations(range(0 if self.include_id else 1, len(names)), 2):
            directions = (pair, pair[::-1])
            found = [self._direction(views, *direction, temperature) for direction in directions]
            terms["_".join(names[view] for view in pair)] = found[0] + found[1]
        return terms

    @staticmethod
    def _direction(views: ItemViews, source: int, target: int, temperature: Tensor) -> Tensor:
        present = None if views.present is None else views.present[[source, target]]
        return directed_infonce(views.rows[source], views.rows[target], temperature, present)

    def diagnostics(self) -> dict[str, Tensor]:
        """The temperature, detached, as `temperature/infonce`, if it is learnt."""
        if not self.temperature.requires_grad:
            return {}
        return {"temperature/infonce": self.temperature.detach().clone()}


@ALIGNERS.register("infonce", paper="van den Oord et al., 2018; FETTLE, SIGIR 2024, eq. 1")
class InfoNCE(Alignment):
    """Bidirectional InfoNCE between the item representation and every content modality.

    The baseline that FETTLE compares directions with (eq. 1), see `InfoNCELoss`. Users take no
    part.

    Args:
        dim, modalities, feature_dims, missing: the data, as in `Alignment`.
        weight: weight of all terms; try 1e-3 to 1e-1.
        temperature: of the softmax, or its initial value; try 0.1 to 0.5.
        learn_temperature: learn the temperature, kept in [0.01, 1].
        include_id: align the item representation as well; False is the equation of the paper,
            between content modalities only.
    """

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        *,
        weight: float = 0.01,
        temperature: float = 0.2,
        learn_temperature: bool = False,
        include_id: bool = True,
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        self.infonce = InfoNCELoss(temperature, learn_temperature, include_id, modalities)
        self.weight = weight

    @full_precision
    def terms(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted `<a>_<b>` for every two views a and b; arguments as in the base."""
        ids = Repeated.of_batch(items).ids
        views = ItemViews.gather(item, self.content(modalities), ids, self.missing_masks())
        return {name: self.weight * term for name, term in self.infonce.on_rows(views).items()}

    def diagnostics(self) -> dict[str, Tensor]:
        """The temperature, detached, if it is learnt."""
        return self.infonce.diagnostics()
