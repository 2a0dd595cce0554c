"""What every loss is: named terms of a batch, and the published call on whole tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..tensors.functional import full_precision
from ..tensors.tables import Tables
from .batch import Batch, Missing, masks_by_name
from .checks import require_table


class Fields(nn.Module):
    """A module whose constructor may be that of a dataclass: it is empty from the beginning."""

    def __new__(cls, *args: Any, **options: Any) -> Fields:
        """Before the first field is set, what `nn.Module.__setattr__` needs is there."""
        module = super().__new__(cls)
        nn.Module.__init__(module)
        return module


@dataclass(kw_only=True, eq=False, repr=False)
class LearntTemperature:
    """A temperature that is learnt unless it is told not to be.

    Args:
        learn_temperature: False keeps the temperature constant, as FETTLE's paper says.
    """

    learn_temperature: bool = True


class Loss(Fields):
    """A loss of alignment. Subclasses implement `on`, and what else they need of the rest.

    Called as published, on whole tables: `loss(user, item, *content, users, items)`, or without
    users `loss(item, *content, items)`; `user` is `(n_users, dim)`, `item` and each content table
    `(n_items, dim)`, ids `(batch,)` int64. The keyword `missing` takes `(n_items,)` bool masks of
    items that lack a modality, by name or in order. The result is the sum of the terms.

    Attributes:
        modalities: names of the content tables, in the order of the call; with `any_content`
            only a mapping of missing rows needs them.
        reads_users: whether users are part of the call.
        any_content: whether a call may have another number of content tables than `modalities`.
        policy: the rule that opens directions, of a loss that knows any.
    """

    reads_users: ClassVar[bool] = True
    any_content: ClassVar[bool] = False
    modalities: Sequence[str]

    def on(self, batch: Batch) -> dict[str, Tensor]:
        """The named parts of the loss, scalars."""
        raise NotImplementedError

    def reach(self, items: Tensor) -> Tensor:
        """Sorted ids of all items that are read for the distinct `items`."""
        return items

    def begin_epoch(
        self, rng: torch.Generator, tables: Callable[[], Tables], missing: Missing = None
    ) -> None:
        """Called before each epoch; arguments as in `Alignment.begin_epoch`, content projected."""

    def diagnostics(self) -> dict[str, Tensor]:
        """Detached scalars that describe the last step, by name."""
        return {}

    def forward(self, *tables: Any, missing: Missing = None) -> Tensor:
        """The sum of `terms`, a scalar."""
        return torch.stack(list(self.terms(*tables, missing=missing).values())).sum()

    @full_precision
    def terms(self, *tables: Any, missing: Missing = None) -> dict[str, Tensor]:
        """The named parts of the loss; arguments as in the call.

        Raises:
            ConfigError: the tables are not those that the loss was built for, or ids and tables
                do not fit together.
        """
        return self.on(self._batch(tables, missing))

    def _batch(self, tables: Sequence[Any], missing: Missing) -> Batch:
        for table in tables:
            require_table(table, type(self).__name__)
        ends = 2 if self.reads_users else 1
        n_content = len(tables) - 2 * ends
        if n_content < 0 or (n_content != len(self.modalities) and not self.any_content):
            raise ConfigError(
                f"{type(self).__name__} was built for {len(self.modalities)} content modalities "
                f"({', '.join(self.modalities)}) and called with {max(n_content, 0)} tables"
            )
        user, item = tables[0], tables[ends - 1]  # one and the same for losses of items alone
        users, items = (tables[-2] if self.reads_users else None), tables[-1]
        unnamed = (f"content {m}" for m in range(len(self.modalities), n_content))
        names = (*self.modalities[:n_content], *unnamed)
        content = dict(zip(names, tables[ends : ends + n_content], strict=True))
        masks = masks_by_name(missing, names, len(self.modalities))
        return Batch(Tables(user, item, content), masks, users, items, self.reach)
