"""Any alignments together, weighed and scheduled by configuration."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..tensors.tables import Tables
from .base import ALIGNERS, Alignment, NeighborKind, union_of_reach
from .batch import Batch
from .rules import DirectionPolicy
from .term_options import Term, parse_terms


@ALIGNERS.register("composed", paper="any of the others, by configuration")
class Composed(Alignment):
    """A sum of alignments, each with a weight and a schedule.

    A term is a mapping: `name` of an alignment, its own options, and `weight`, `start` (first
    epoch in which it takes part, from 1) and `ramp` (epochs in which it grows to its full
    weight)::

        alignment:
          name: composed
          terms:
            - {name: ila, weight: 0.01, directions: dynamic, ramp: 10}
            - {name: cna, weight: 0.01, start: 5}
            - {name: infonce, weight: 0.1}

    `weight` is the alignment's own option of that name, where it has one; otherwise it multiplies
    all it returns. Schedules follow `begin_epoch`; before its first call all terms are at full
    weight. Projectors and the batch are shared: rows that several terms read are read, projected
    and normalised once. A term that does not take part costs nothing.

    Args:
        terms: mappings of name, weight, start, ramp and the options of that alignment.

    Attributes:
        parts: label -> alignment; the label is the name, with a number where it occurs again.

    Raises:
        ConfigError: a term, or an option of one, is unknown or wrong.
    """

    components: ClassVar[str] = "terms"
    """The option whose mappings name further alignments, checked like an alignment's own."""

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
        neighbors: Any = None,
        *,
        terms: tuple[dict[str, Any], ...] = ({"name": "ila"}, {"name": "cla"}),
    ) -> None:
        super().__init__(dim, modalities, feature_dims, missing)
        parsed = parse_terms(terms)

        def build(term: Term) -> Alignment:
            wanted = term.entry.cls.wants_neighbors(term.options)
            data: dict[str, Any] = {"neighbors": neighbors} if wanted else {}
            return term.entry.cls(dim, modalities, missing=missing, **data, **term.options)

        self.parts = nn.ModuleDict({term.label: build(term) for term in parsed})
        self._terms = parsed
        self._factors = [1.0 for _ in parsed]

    @classmethod
    def wants_neighbors(cls, options: Mapping[str, Any]) -> NeighborKind | None:
        """Of the kind that the terms want.

        Raises:
            ConfigError: they want different ones.
        """
        terms = parse_terms(options["terms"]) if "terms" in options else ()
        wanted = {kind: t.label for t in terms if (kind := t.entry.cls.wants_neighbors(t.options))}
        if len(wanted) > 1:
            kinds = " and ".join(f"'{label}' by {kind}" for kind, label in wanted.items())
            raise ConfigError(
                f"terms want neighbours of different kinds ({kinds}), and a run has one table of "
                "them: leave one term out"
            )
        return next(iter(wanted), None)

    def begin_epoch(self, epoch: int, rng: torch.Generator, tables: Callable[[], Tables]) -> None:
        """Set the strength of every term, and let those that take part begin the epoch."""
        projected = functools.cache(lambda: self.projected(tables()))
        self._factors = [term.schedule.factor(epoch) for term in self._terms]
        for part, _, _ in self._active():
            part.begin_epoch(epoch, rng, projected)

    def reach(self, items: Tensor) -> Tensor:
        """Sorted ids of all items that a term reads which takes part."""
        return union_of_reach(items, (part.reach for part, _, _ in self._active()))

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted `<label>/<term>` of every alignment that takes part."""
        return {
            f"{label}/{name}": weight * value
            for part, label, weight in self._active()
            for name, value in part.on(batch).items()
        }

    def _active(self) -> list[tuple[Alignment, str, float]]:
        """Alignment, label and present weight of the terms that take part."""
        weights = [term.weight * f for term, f in zip(self._terms, self._factors, strict=True)]
        parts: Any = self.parts
        return [
            (parts[term.label], term.label, weight)
            for term, weight in zip(self._terms, weights, strict=True)
            if weight != 0.0
        ]

    @property
    def policy(self) -> DirectionPolicy | None:
        """The rule of the first term that has one."""
        parts: Any = self.parts.values()
        rules = (part.policy for part in parts)
        return next((rule for rule in rules if rule is not None), None)

    def diagnostics(self) -> dict[str, Tensor]:
        """Those of all terms; names of a term that occurs again end in its label."""
        found: dict[str, Tensor] = {}
        for part, label, _ in self._active():
            for name, value in part.diagnostics().items():
                found[f"{name}/{label}" if name in found else name] = value
        return found
