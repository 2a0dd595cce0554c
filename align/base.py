"""What every alignment is, and tables that are projected only where they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn

from ..registry import Registry


class Table(Protocol):
    """Anything that gives rows by id: a `(n_items, dim)` tensor, or a `Projected` table."""

    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


class Projected:
    """Features seen through a projector, computed only for the rows that are asked for.

    `table[rows]` is `projector(features[rows])`, `(len(rows), dim)`: the cost of a step grows
    with the rows it touches and not with the catalogue.

    Args:
        features: `(n_items, d)` frozen features or trainable table.
        projector: maps `(n, d)` to `(n, dim)`.
    """

    def __init__(self, features: Tensor, projector: Callable[[Tensor], Tensor]) -> None:
        self.features = features
        self.projector = projector

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        return self.projector(self.features[rows])


class Alignment(nn.Module):
    """A loss over representations, content modalities and the batch's positive pairs.

    Subclasses bundle projectors, losses and weights, and implement `terms`. They never look
    inside a backbone.
    """

    def terms(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted, named parts of the loss; their sum is what `forward` returns.

        Args:
            user: `(n_users, dim)` user representations.
            item: `(n_items, dim)` item representations (the `id` modality).
            modalities: content modality name -> table of `(n_items, dim)` projected rows, or of
                `(n_items, d_m)` features where this alignment owns the projector.
            users: `(batch,)` user ids of the positive pairs.
            items: `(batch,)` item ids of the positive pairs; repeats are allowed.
        """
        raise NotImplementedError

    def forward(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> Tensor:
        """Sum of `terms`, a scalar."""
        total = user.new_zeros(())
        for value in self.terms(user, item, modalities, users, items).values():
            total = total + value
        return total


ALIGNERS: Registry[Alignment] = Registry("alignment")
