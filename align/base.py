"""What every alignment is, and tables that are projected only where they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError, unknown_name
from ..registry import Registry
from ..tensors.tables import Projected, Table, Tables, xavier
from .policies import DirectionPolicy


class Alignment(nn.Module):
    """A loss over representations, content modalities and the batch's positive pairs.

    Subclasses bundle losses and weights, and implement `terms`. They never look inside a
    backbone. Arguments that describe the data come first and may be positional; hyper-parameters
    are keyword-only, with defaults, which is what the configuration shows.

    Args:
        dim: width of the representations.
        modalities: names of the content modalities.
        feature_dims: modality -> width `d_m` of its features, for those that this alignment
            projects itself with a `Linear(d_m, dim)` (Xavier-uniform weight, zero bias). Tables
            of the others are handed in projected.
        missing: modality -> `(n_items,)` bool, True where an item lacks it.

    Attributes:
        dim: as given.
        projectors: modality -> `Linear(d_m, dim)`.
        needs_neighbors: whether the constructor takes a `neighbors` table, unless
            `wants_neighbors` knows better.

    Raises:
        ConfigError: names are empty, repeated or `id`; a mapping names an unknown modality.
    """

    needs_neighbors: ClassVar[bool] = False

    def __init__(
        self,
        dim: int = 64,
        modalities: Sequence[str] = ("image", "text"),
        feature_dims: Mapping[str, int] | None = None,
        missing: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_modalities(modalities)
        for name in (*(feature_dims or {}), *(missing or {})):
            if name not in modalities:
                raise unknown_name("modality", name, modalities)
        self.dim = dim
        self.modalities = tuple(modalities)
        self.projectors = nn.ModuleDict(
            {name: xavier(nn.Linear(width, dim)) for name, width in (feature_dims or {}).items()}
        )
        for name, mask in (missing or {}).items():
            self.register_buffer(f"missing_{name}", mask.bool(), persistent=False)

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
        """
        raise NotImplementedError

    def forward(
        self,
        user: Tensor,
        item: Tensor,
        modalities: Mapping[str, Table],
        users: Tensor,
        items: Tensor,
    ) -> Tensor:
        """Sum of `terms`, a scalar."""
        total = user.new_zeros(())
        for value in self.terms(user, item, modalities, users, items).values():
            total = total + value
        return total

    @classmethod
    def wants_neighbors(cls, options: Mapping[str, Any]) -> bool:
        """Whether an alignment with these constructor options is given a `neighbors` table."""
        return cls.needs_neighbors

    def begin_epoch(self, epoch: int, rng: torch.Generator, tables: Callable[[], Tables]) -> None:
        """Called before each epoch, for schedules and for what holds for an epoch.

        What it does may depend on its arguments alone, so that a resumed run goes on as before.

        Args:
            epoch: number of the epoch that begins, counted from 1.
            rng: generator of this epoch, on the CPU.
            tables: gives the tables as they are now, without gradients; this costs a forward pass
                of the backbone, so ask only where they are needed.
        """

    def reach(self, items: Tensor) -> Tensor:
        """Sorted ids of all items whose content is read for a batch of distinct `items`."""
        return items

    @property
    def policy(self) -> DirectionPolicy | None:
        """The rule that opens directions; None for an alignment that knows none."""
        return None

    def diagnostics(self) -> dict[str, Tensor]:
        """Detached scalars that describe the last step, by name; a trainer averages them."""
        return {}

    def missing_masks(self) -> list[Tensor | None]:
        """Mask of missing rows of each modality, in order; None where all are present."""
        return [getattr(self, f"missing_{name}", None) for name in self.modalities]

    def content(self, modalities: Mapping[str, Table]) -> list[Table]:
        """Projected tables in the order of `self.modalities`, own projectors applied on reading.

        Raises:
            ConfigError: a modality has no table.
        """
        absent = [name for name in self.modalities if name not in modalities]
        if absent:
            raise ConfigError(
                f"no table for modality '{absent[0]}': the alignment was built for "
                f"{', '.join(self.modalities)} and got {', '.join(modalities) or 'none'}"
            )
        return [
            Projected(modalities[name], self.projectors[name])
            if name in self.projectors
            else modalities[name]
            for name in self.modalities
        ]


def check_modalities(names: Sequence[str]) -> None:
    """Refuse an empty list, repeated names, dots, and `id`, which names the item table."""
    if isinstance(names, str) or not names:
        raise ConfigError(f"modalities must be a non-empty list of names, not {names!r}")
    if len(set(names)) != len(names) or "id" in names or any("." in name for name in names):
        raise ConfigError(
            f"modalities {list(names)} must be distinct, without dots, and none called 'id'"
        )


ALIGNERS: Registry[Alignment] = Registry("alignment")
