"""What every alignment is: weighed losses on representations and content, in the batch's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import ConfigError, unknown_name
from ..registry import Registry
from ..tensors.functional import full_precision
from ..tensors.ids import sorted_ids
from ..tensors.tables import Projected, Table, Tables, xavier
from .batch import Batch
from .checks import require_table
from .loss import Fields, Loss
from .rules import DirectionPolicy

NeighborKind = Literal["cooccurrence", "regression"]
"""What makes items neighbours: common users, or a regression on feedback and content."""


@dataclass(eq=False, repr=False)
class Alignment(Fields):
    """A loss over representations, content modalities and the batch's positive pairs.

    A subclass is a dataclass: its fields after `KW_ONLY` are its options, documented under
    `Args:`, and what the configuration shows. In `__post_init__` it makes its losses and says with
    `weigh` what they count; or it writes its own `on`. It never looks inside a backbone.

    Args:
        dim: width of the representations.
        modalities: names of the content modalities.
        feature_dims: modality -> width `d_m` of its features, for those that this alignment
            projects itself with a `Linear(d_m, dim)` (Xavier-uniform weight, zero bias). Tables
            of the others are handed in projected.
        missing: modality -> `(n_items,)` bool, True where an item lacks it.
        neighbors: `(n_items, k)` ids of the items of most similar feedback, -1 where there are
            fewer, what `load_neighbors` gives, or the path of a file that `crossalign neighbors`
            wrote; for alignments that need them.

    Attributes:
        projectors: modality -> `Linear(d_m, dim)`.
        reads_content: whether a step reads content; there are no projectors if not.
        needs_neighbors: whether `neighbors` must be given, unless `wants_neighbors` knows better.
        neighbors_by: what makes items neighbours for it: `cooccurrence` of users, or
            `regression` on feedback and content.

    Raises:
        ConfigError: names are empty, repeated or `id`; a mapping names an unknown modality; or
            neighbours are needed and not there.
    """

    reads_content: ClassVar[bool] = True
    needs_neighbors: ClassVar[bool] = False
    neighbors_by: ClassVar[NeighborKind] = "cooccurrence"

    dim: int = 64
    modalities: Sequence[str] = ("image", "text")
    feature_dims: InitVar[Mapping[str, int] | None] = None
    missing: InitVar[Mapping[str, Tensor] | None] = None
    neighbors: InitVar[Any] = None
    _: KW_ONLY

    def __post_init__(
        self,
        feature_dims: Mapping[str, int] | None,
        missing: Mapping[str, Tensor] | None,
        neighbors: Any,
    ) -> None:
        check_modalities(self.modalities)
        self.modalities = tuple(self.modalities)
        for name in (*(feature_dims or {}), *(missing or {})):
            if name not in self.modalities:
                raise unknown_name("modality", name, self.modalities)
        if neighbors is None and self.needs_neighbors:
            raise ConfigError(
                f"alignment '{type(self).__name__}' needs neighbors, an (n_items, k) table of item "
                "ids: compute it with graphs.cooccurrence_neighbors or `crossalign neighbors`"
            )
        projected = (feature_dims or {}) if self.reads_content else {}
        self.projectors = nn.ModuleDict(
            {name: xavier(nn.Linear(width, self.dim)) for name, width in projected.items()}
        )
        for name, mask in (missing or {}).items():
            self.register_buffer(f"missing_{name}", mask.bool(), persistent=False)
        self._weights: dict[str, float | dict[str, float]] = {}

    def weigh(self, loss: str, weight: float | None = None, **terms: float) -> None:
        """Say what the loss in the attribute `loss` counts; a term of weight 0 does not take part.

        Args:
            loss: name of an attribute that holds a `Loss`.
            weight: of all its terms; None if each has its own.
            terms: weights by term.
        """
        self._weights[loss] = terms if weight is None else weight

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted, named parts of the loss on a batch: those of all losses that take part."""
        found = {}
        for loss, weight in self._taking_part():
            for term, value in loss.on(batch).items():
                factor = weight if isinstance(weight, float | int) else weight[term]
                if factor:
                    found[term] = factor * value
        return found

    @full_precision
    def terms(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted, named parts of the loss; their sum is what `forward` returns.

        Args:
            user: `(n_users, dim)` user representations.
            item: `(n_items, dim)` item representations (the `id` modality).
            modalities: content modality name -> table of `(n_items, dim)` projected rows, or of
                `(n_items, d_m)` features where this alignment owns the projector.
            users: `(batch,)` user ids of the positive pairs.
            items: `(batch,)` item ids of the positive pairs; repeats are allowed.

        Raises:
            ConfigError: tables are missing, no tensors, or not those that this was built for, or
                ids and tables do not fit together.
        """
        if not isinstance(modalities, Mapping):
            raise ConfigError(
                f"content is {type(modalities).__name__}: give a mapping of modality to table"
            )
        for table in (user, item, *modalities.values(), users, items):
            require_table(table, type(self).__name__)
        tables = self.projected(Tables(user, item, modalities))
        return self.on(Batch(tables, self.missing_masks(), users, items, self.reach))

    def forward(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> Tensor:
        """Sum of `terms`, a scalar."""
        terms = self.terms(user, item, modalities, users, items)
        total = user.new_zeros(())
        for value in terms.values():
            total = total + value
        return total

    @classmethod
    def wants_neighbors(cls, options: Mapping[str, Any]) -> NeighborKind | None:
        """Of which kind the `neighbors` are that an alignment with these options is given."""
        return cls.neighbors_by if cls.needs_neighbors else None

    def begin_epoch(self, epoch: int, rng: torch.Generator, tables: Callable[[], Tables]) -> None:
        """Called before each epoch, for schedules and for what holds for an epoch.

        What it does may depend on its arguments alone, so that a resumed run goes on as before.

        Args:
            epoch: number of the epoch that begins, counted from 1.
            rng: generator of this epoch, on the CPU.
            tables: gives the tables as they are now, without gradients; this costs a forward pass
                of the backbone, so ask only where they are needed.
        """
        for loss, _ in self._taking_part():
            loss.begin_epoch(rng, lambda: self.projected(tables()), self.missing_masks())

    def reach(self, items: Tensor) -> Tensor:
        """Sorted ids of all items whose content is read for a batch of distinct `items`."""
        return union_of_reach(items, (loss.reach for loss, _ in self._taking_part()))

    @property
    def policy(self) -> DirectionPolicy | None:
        """The rule that opens directions; None for an alignment that knows none."""
        rules = (getattr(getattr(self, name), "policy", None) for name in self._weights)
        return next((rule for rule in rules if rule is not None), None)

    def diagnostics(self) -> dict[str, Tensor]:
        """Detached scalars that describe the last step, by name; a trainer averages them."""
        found: dict[str, Tensor] = {}
        for name in self._weights:
            found |= getattr(self, name).diagnostics()
        return found

    def missing_masks(self) -> dict[str, Tensor]:
        """Mask of missing rows of each modality that has some."""
        masks = {name: getattr(self, f"missing_{name}", None) for name in self.modalities}
        return {name: mask for name, mask in masks.items() if mask is not None}

    def projected(self, tables: Tables) -> Tables:
        """The tables with content in the order of `modalities`, own projectors applied on reading.

        Raises:
            ConfigError: a modality has no table.
        """
        given = tables.modalities
        absent = [name for name in self.modalities if name not in given]
        if absent:
            raise ConfigError(
                f"no table for modality '{absent[0]}': the alignment was built for "
                f"{', '.join(self.modalities)} and got {', '.join(given) or 'none'}"
            )
        own = self.projectors
        content: dict[str, Table] = {
            name: Projected(given[name], own[name]) if name in own else given[name]
            for name in self.modalities
        }
        return tables._replace(modalities=content)

    def _taking_part(self) -> list[tuple[Loss, float | dict[str, float]]]:
        """The losses of which a term has a weight, and their weights."""
        return [
            (getattr(self, name), weight)
            for name, weight in self._weights.items()
            if (any(weight.values()) if isinstance(weight, dict) else weight)
        ]


def union_of_reach(items: Tensor, reaches: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
    """Sorted ids of all items that any of `reaches` names for the distinct `items`."""
    found = [ids for ids in (reach(items) for reach in reaches) if ids is not items]
    return sorted_ids(items, *found) if len(found) > 1 else found[0] if found else items


def shared(owner: object, options: type) -> dict[str, Any]:
    """The values that `owner` has for the fields of a dataclass of `options` that it inherits."""
    return {field.name: getattr(owner, field.name) for field in fields(options)}


def check_modalities(names: Sequence[str]) -> None:
    """Refuse an empty list, repeated names, dots, and `id`, which names the item table."""
    if isinstance(names, str) or not names:
        raise ConfigError(f"modalities must be a non-empty list of names, not {names!r}")
    if len(set(names)) != len(names) or "id" in names or any("." in name for name in names):
        raise ConfigError(
            f"modalities {list(names)} must be distinct, without dots, and none called 'id'"
        )


ALIGNERS: Registry[Alignment] = Registry("alignment")
