"""Options of the graphs between items and users, and of the search for neighbours."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from ..errors import ConfigError
from ..options import STRICT, Options
from .best_items import Score
from .knn import Search
from .regression import Regression

NeighborKind = Literal["cooccurrence", "regression"]
"""Common users, or a regression on feedback and content."""
DEFAULT_COOCCURRING = 40
"""Neighbours where `cooccur_k` is 0, the number of users in DualGNN's published settings."""


@dataclass(frozen=True, config=STRICT)
class GraphOptions(Options):
    """How the graphs between items, and between users, are built."""

    section: ClassVar[str] = "graph"

    knn_k: PositiveInt = 10
    """Neighbours per item in the feature graphs."""

    knn_self: bool = True
    """Whether an item may be its own neighbour in the feature graphs."""

    knn_search: Search = "auto"
    """Search for feature neighbours: exact, ivf, hnsw, or auto (by the number of items)."""

    cooccur_k: NonNegativeInt = 0
    """Neighbours per node in the co-occurrence graphs of items and of users; 0 stands for 40."""

    user_knn_k: PositiveInt = 40
    """Neighbours per user in the graphs of what users are interested in (REARM)."""

    memory_mib: PositiveInt = 512
    """Bound in MiB on the working memory of a block of the kNN and co-occurrence searches."""

    def require_user_neighbors(self, wanted: int) -> None:
        """Refuse a backbone that reads more neighbours of a user than the graph will hold."""
        held = self.cooccur_k or DEFAULT_COOCCURRING
        if wanted > held:
            raise ConfigError(
                f"backbone.n_neighbors is {wanted}, but the graph between users holds {held}: set "
                f"graph.cooccur_k to {wanted}"
            )


@dataclass(frozen=True, config=STRICT)
class NeighborOptions(Options):
    """Neighbours of items for neighbour-level alignment."""

    section: ClassVar[str] = "neighbors"

    k: PositiveInt = 5
    """Neighbours per item."""
    by: NeighborKind | None = None
    """Common users (cooccurrence), or a regression of each item on feedback and content; what the
    alignment asks for if not given."""
    candidates: PositiveInt = Regression.candidates
    """Of `regression`: nearest items by feedback, and as many by each modality, to choose from."""
    ridge: PositiveFloat = Regression.ridge
    """Of `regression`: of the squared weights."""
    content_weight: NonNegativeFloat = Regression.content_weight
    """Of `regression`: of content beside feedback, for content that feedback confirms."""
    score: Score = "count"
    """Similarity of feedback: count, cosine or jaccard."""
    min_count: PositiveInt = 1
    """Common users two items need to be neighbours."""
    search: Literal["exact", "faiss"] = "exact"
    """Count all pairs of items, or rank only candidates that FAISS finds among compressed
    profiles; `crossalign neighbors` measures what that misses."""
    memory_mib: PositiveInt = 512
    """Bound on the working memory of the search, beside interactions and result."""
    workers: PositiveInt | None = None
    """Threads; as many as torch uses if not given."""
    file: str | None = None
    """Precomputed neighbour file (`crossalign neighbors`); computed on the spot if not given."""
