"""Options of the evidence that is added to a model's scores."""

from __future__ import annotations

from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from ..options import STRICT, Options

NONE, AUTO = "none", "auto"


@dataclass(frozen=True, config=STRICT)
class EvidenceOptions(Options):
    """Evidence of the items a user has, added to the scores of the best candidates."""

    section: ClassVar[str] = "evidence"

    kind: str = NONE
    """Where evidence comes from: `none`, a kind such as `cooccurrence` or `contentease` (all in
    `crossalign list`), a sum such as `allocation+ease`, or `auto`: chosen on validation."""
    weight: NonNegativeFloat | None = None
    """Of the evidence, in standard deviations of the model's scores; chosen on validation if not
    given."""
    candidates: PositiveInt = 200
    """Items with the highest scores of the model that evidence is added to."""
    neighbors: PositiveInt = 200
    """Entries kept for each item."""
    ridge: PositiveFloat = 200.0
    """Of the squared weights of `ease` and `contentease`."""
    content_weight: PositiveFloat = 20.0
    """Of content in the Gram matrix of `contentease`."""
    content_k: PositiveInt = 20
    """Neighbours per item by content, for `contentknn`."""
    modalities: tuple[str, ...] | None = None
    """Content that `contentknn` and `contentease` read; all if not given."""
    memory_mib: PositiveInt = 4096
    """Bound on the square of the catalogue that `ease` and `contentease` work on: 4096 are 32,768
    items."""
