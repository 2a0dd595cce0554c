"""Options of the full-ranking evaluation."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from ..options import STRICT, Options


@dataclass(frozen=True, config=STRICT)
class EvaluationOptions(Options):
    """Full-ranking evaluation."""

    section: ClassVar[str] = "evaluation"

    ks: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (5, 10, 20, 50)
    """Cut-offs of the metrics."""
