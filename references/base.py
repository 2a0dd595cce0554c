"""What every reference line is: something that scores items without epochs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..datasets.dataset import Dataset
from ..evaluation import BlockScorer
from ..registry import Registry
from ..tensors.representations import Representations


class Reference(ABC):
    """A recommender that is computed from a data set at once.

    A subclass is registered with `REFERENCES.register`; its keyword-only arguments are its
    options, as with backbones.

    Args:
        dataset: only its training split and its content are read.
    """

    needs_features: ClassVar[bool] = False
    """Whether it reads content."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @abstractmethod
    def scores(self) -> Representations | BlockScorer:
        """What `Evaluator` takes; the same on every call."""

    @classmethod
    def usable(cls, dataset: Dataset) -> bool:
        """Whether it can be computed from `dataset`; studies leave it out otherwise."""
        return bool(dataset.features) or not cls.needs_features

    @classmethod
    def grid(cls, dataset: Dataset) -> Sequence[Mapping[str, Any]]:
        """Points of options among which validation chooses; the first wins a tie."""
        return [{}]


REFERENCES: Registry[Reference] = Registry("reference")
"""All reference lines."""
