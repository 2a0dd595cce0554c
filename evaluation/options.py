"""Options of the full-ranking evaluation."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..options import STRICT, Options
from .metrics import MOST_DIGITS

CutOff = Annotated[int, Field(ge=1, lt=10**MOST_DIGITS)]


@dataclass(frozen=True, config=STRICT)
class EvaluationOptions(Options):
    """Full-ranking evaluation."""

    section: ClassVar[str] = "evaluation"

    ks: Annotated[tuple[CutOff, ...], Field(min_length=1)] = (5, 10, 20, 50)
    """Cut-offs of the metrics."""
