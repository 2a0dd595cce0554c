"""Two views of every node, ids and content, kept from a forward to its loss."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

from ..tensors.representations import Representations

T = TypeVar("T")


class Views(NamedTuple):
    """The two sides of users and items that the representations are sums of."""

    ids: Representations
    """propagated ids"""
    content: Representations
    """what content adds to them"""

    def total(self) -> Representations:
        """Their sum."""
        (user, item), (of_user, of_item) = self
        return Representations(user + of_user, item + of_item)


class Kept(Generic[T]):
    """What the last forward keeps for the loss; copies and pickles forget it."""

    def __init__(self) -> None:
        self.value: T | None = None

    def keep(self, value: T) -> None:
        """Keep `value` until the next forward."""
        self.value = value

    def read(self) -> T:
        """What was kept last."""
        assert self.value is not None, "a loss needs a forward before it"
        return self.value

    def __getstate__(self) -> dict[str, Any]:
        return {"value": None}
