"""InfoNCE between every two views of an item, in both directions: the bidirectional baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError, require_positive_temperature
from ..tensors.functional import contrastive_sum
from .base import ALIGNERS, Alignment, check_modalities
from .batch import Batch, Views
from .loss import Loss

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


class InfoNCELoss(Loss):
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

    Attributes:
        temperature: scalar parameter, frozen unless it is learnt.

    Raises:
        ConfigError: names are empty, repeated or `id`, or there is only one view to align.
    """

    reads_users: ClassVar[bool] = False

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

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """Both directions of every pair, by name: `id_image`, `image_text`, ..."""
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
            found = [
                self._direction(batch.views, *direction, temperature) for direction in directions
            ]
            terms["_".join(names[view] for view in pair)] = found[0] + found[1]
        return terms

    @staticmethod
    def _direction(views: Views, source: int, target: int, temperature: Tensor) -> Tensor:
        present = None if views.present is None else views.present[[source, target]]
        return directed_infonce(views.rows[source], views.rows[target], temperature, present)

    def diagnostics(self) -> dict[str, Tensor]:
        """The temperature, detached, as `temperature/infonce`, if it is learnt."""
        if not self.temperature.requires_grad:
            return {}
        return {"temperature/infonce": self.temperature.detach().clone()}


@ALIGNERS.register("infonce", paper="van den Oord et al., 2018; FETTLE, SIGIR 2024, eq. 1")
@dataclass(kw_only=True, eq=False, repr=False)
class InfoNCE(Alignment):
    """Bidirectional InfoNCE between the item representation and every content modality.

    The baseline that FETTLE compares directions with (eq. 1), see `InfoNCELoss`. Users take no
    part.

    Args:
        weight: weight of all terms; try 1e-3 to 1e-1.
        temperature: of the softmax, or its initial value; try 0.1 to 0.5.
        learn_temperature: learn the temperature, kept in [0.01, 1].
        include_id: align the item representation as well; False is the equation of the paper,
            between content modalities only.
    """

    weight: float = 0.01
    temperature: float = 0.2
    learn_temperature: bool = False
    include_id: bool = True

    def __post_init__(self, *data: Any) -> None:
        super().__post_init__(*data)
        how = self.temperature, self.learn_temperature, self.include_id, self.modalities
        self.infonce = InfoNCELoss(*how)
        self.weigh("infonce", self.weight)
