"""Two views of every node, ids and content, and the contrast that ties one to the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from ..tensors.functional import unit_rows
from ..tensors.ids import Repeated
from .base import Batch, Representations
from .contrast import in_batch_contrast


class Views(NamedTuple):
    """The two sides of users and items that the representations are sums of."""

    ids: Representations
    """propagated ids"""
    content: Representations
    """what content adds to them"""


class LastViews:
    """The views of the last forward, kept for the loss; copies and pickles forget them."""

    def __init__(self) -> None:
        self.kept: Views | None = None

    def keep(self, views: Views) -> Representations:
        """Keep `views` until the next forward; returns their sum."""
        self.kept = views
        (user, item), (of_user, of_item) = views
        return Representations(user + of_user, item + of_item)

    def read(self) -> Views:
        """The views that were kept last."""
        assert self.kept is not None, "a loss needs a forward before it"
        return self.kept

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": None}


def content_to_ids(
    views: Views, batch: Batch, temperature: float, *, symmetric: bool = False
) -> dict[str, Tensor]:
    """InfoNCE from the content to the ids of the batch's nodes, by `user` and `item`.

    Means over the positive pairs, with cosines; repeats count as negatives, too.

    Args:
        views: of all nodes.
        batch: whose users, and items of positive pairs, are contrasted.
        temperature: positive.
        symmetric: mean of both directions; else content is the anchor.
    """
    terms = {}
    for side, ids in (("user", batch.users), ("item", batch.items)):
        nodes = Repeated.of_batch(ids)
        own, content = (unit_rows(getattr(view, side).index_select(0, nodes.ids)) for view in views)
        total = in_batch_contrast(content, nodes, own, nodes, temperature)
        if symmetric:
            total = (total + in_batch_contrast(own, nodes, content, nodes, temperature)) / 2
        terms[side] = total / len(ids)
    return terms
