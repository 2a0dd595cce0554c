"""What answers hold."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of all."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Item(Answer):
    """An item of the catalogue."""

    id: str
    title: str | None = None
    picture: bool = False
    """Whether `/picture` has one."""


class Scored(Item):
    """An item of a list."""

    score: float


class RankedList(Answer):
    """A list, best first; shorter than asked for where no more items are left."""

    items: list[Scored]
    unknown: list[str] = []
    """Ids of the history that the export does not have; they were left out."""
    note: str | None = None
    """For a user without history: that these are the items most bought, scores their buyers."""


class RankedLists(Answer):
    """A list for each user, history or item of the request, in its order."""

    export: str
    """Which export made them."""
    lists: list[RankedList]
    unknown: list[str] = []
    """Ids of the filters that the export does not have; they were left out."""


class Audience(Answer):
    """A user whom a new item suits."""

    user: str
    score: float


class Place(Answer):
    """Where a new item would stand in the list of a user."""

    user: str
    score: float
    rank: int


class Placed(Answer):
    """What is known of a new item by its content."""

    similar: list[Scored]
    audience: list[Audience]
    places: list[Place]


class PlacedItems(Answer):
    """The new items of the request, in its order."""

    export: str
    items: list[Placed]
    unknown: list[str] = []


class Neighbor(Item):
    """An item of the history that is near to the one asked about."""

    cosine: float
    users: int
    """Users who have it."""
    both: int
    """Users who have both; the user asked about does not count."""


class Saying(Item):
    """An item of the history that says something for the one asked about."""

    says: dict[str, float]
    """By kind of evidence, as in the lists of the export."""


class EvidenceReason(Answer):
    """What evidence adds: the score is `model + added`.

    For a candidate `added` is `weight * spread * evidence`, for other items 0.
    """

    model: float
    """Score without evidence: the inner product of the vectors."""
    added: float
    candidate: bool
    """Whether the item is one of those with the best scores of the model, to which it is added."""
    weight: float
    spread: float
    """Standard deviation of the model's scores over the catalogue."""
    evidence: float
    """What the history says for the item, in standard deviations from the catalogue's mean."""
    sayings: list[Saying]
    """Items of the history in training, those that say the most first."""


class Reason(Answer):
    """Why an item stands in a list."""

    export: str
    item: Item
    score: float
    rank: int
    users: int
    """Users who have the item."""
    vector: str
    """Where its vector comes from: trained, or content."""
    nearest: list[Neighbor]
    evidence: EvidenceReason | None = None
    """None where lists carry no evidence."""
    note: str | None = None
    """For a user without history: that the list is of the items most bought, whoever asks."""


class History(Answer):
    """What a user has."""

    user: str
    items: list[Item]
    total: int


class Found(Answer):
    """Ids that a search found, in the order of the export."""

    users: list[str] = []
    items: list[Item] = []


class ModalityState(Answer):
    """How content of one modality can come in."""

    width: int
    """Numbers of its features."""
    reads: str | None
    """What its encoder takes: text, image or audio. None where only features can be given."""


class EvidenceState(Answer):
    """The evidence that lists carry."""

    kinds: list[str]
    weight: float
    """In standard deviations of the model's scores."""
    candidates: int
    """Items with the best scores of the model, to which it is added."""


class About(Answer):
    """The export that is served."""

    export: str
    created: int
    """Seconds since 1970."""
    users: int
    items: int
    dim: int
    dataset: str
    backbone: str
    alignment: str
    test: dict[str, Any]
    """Test metrics of the run."""
    index: dict[str, Any]
    evidence: EvidenceState | None
    """None where lists carry none, be it that the export has none or that it is left out."""
    modalities: dict[str, ModalityState]
    titles: bool
    pictures: bool
    bounds: dict[str, int]


class Problem(Answer):
    """What is wrong with a request."""

    detail: str


class State(Answer):
    """Whether the service lives, or is ready."""

    status: str


class Health(State):
    """That the process lives."""

    evidence: bool | None
    """Whether lists carry evidence; None as long as there is no export."""
