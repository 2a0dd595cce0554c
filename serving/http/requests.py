"""What requests hold. Sizes that a service bounds by its options are checked by `Bounds`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from .errors import Refused
from .options import ServeOptions

Id = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]


class Request(BaseModel):
    """Base of all: unknown names are refused, and ids may be given as numbers."""

    model_config = ConfigDict(
        extra="forbid", coerce_numbers_to_str=True, use_attribute_docstrings=True
    )


class Lists(Request):
    """Which items a list may hold, and how many."""

    k: int = Field(default=10, ge=1)
    """Length of the lists."""
    only: list[Id] | None = Field(default=None, min_length=1)
    """Items to choose from; all if left out. Unknown ones are named in the answer."""
    without: list[Id] = []
    """Items to leave out."""


class ForUsers(Lists):
    """Lists for users of the data; what they have is left out."""

    users: list[Id] = Field(min_length=1, examples=[["3", "5"]])


class ForHistories(Lists):
    """Lists for people unknown, by the items that they have; these are left out."""

    histories: list[list[Id]] = Field(min_length=1, examples=[[["12", "40", "7"]]])


class Similar(Lists):
    """Items that are like others: largest cosines of their vectors."""

    items: list[Id] = Field(min_length=1, examples=[["12"]])


class NewItem(Request):
    """Content of an item that is not in the catalogue, each modality in one of three ways."""

    features: dict[Name, list[Number]] = {}
    """Modality -> what the encoder of the training data makes of it."""
    texts: dict[Name, Annotated[str, StringConstraints(max_length=100_000)]] = {}
    """Modality -> raw text."""
    files: dict[Name, str] = {}
    """Modality -> an image or sound file in Base64."""


class NewItems(Lists):
    """New items: what they are like, whom they suit, and where they would stand for some users."""

    items: list[NewItem] = Field(min_length=1)
    users: list[Id] = []
    """Users for whom to score the items."""


class Why(Request):
    """A reason for one item in the list of a user, or of someone with a history."""

    item: Id
    user: Id | None = None
    history: list[Id] | None = Field(default=None, min_length=1)
    n: int = Field(default=5, ge=1, le=20)
    """Items of the history to name."""


class Bounds:
    """Checks sizes of requests. All methods raise `Refused`."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options

    def lists(self, request: Lists, batch: int) -> None:
        """`k`, the number of lists and both filters."""
        self._most("k", request.k, self.options.max_k)
        self.batch(batch)
        self.ids("only", len(request.only or ()))
        self.ids("without", len(request.without))

    def batch(self, size: int) -> None:
        """Lists or new items at once."""
        self._most("the batch", size, self.options.max_batch)

    def ids(self, what: str, number: int) -> None:
        """Ids of one history or filter."""
        self._most(f"the number of ids in '{what}'", number, self.options.max_ids)

    def _most(self, what: str, value: int, most: int) -> None:
        if value > most:
            raise Refused(f"{what} is {value}, more than the {most} that this service allows")
