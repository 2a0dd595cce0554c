"""Two views of every node, ids and content, kept from a forward to its loss."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..tensors.representations import Representations


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
