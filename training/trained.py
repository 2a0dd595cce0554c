"""Who takes part in a step, and what it minimises: terms of the backbone and of the alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..align.base import Alignment
from ..models.base import Backbone
from ..tensors.ids import part_of
from ..tensors.representations import Representations
from ..tensors.tables import Table, Tables
from .team import ALONE, Team

Terms = dict[str, Tensor]


class Losses(NamedTuple):
    """What one step minimises, and what it tells."""

    terms: Terms
    """Weighted terms by name; their sum is minimised."""
    diagnostics: Terms
    """Detached scalars that the alignment describes the step with."""

    def total(self) -> Tensor:
        """The sum of the terms."""
        return torch.stack(list(self.terms.values())).sum()

    def named(self, total: Tensor) -> Terms:
        """All scalars of the step as the history names them."""
        losses = {f"loss/{name}": value for name, value in self.terms.items()}
        told = {f"diagnostics/{name}": value for name, value in self.diagnostics.items()}
        return losses | {"loss": total} | told


class Trained(NamedTuple):
    """Who takes part in a step."""

    backbone: Backbone
    alignment: Alignment | None
    features: Mapping[str, Table]
    """Content tables of the alignment; those that the backbone projects itself come on top."""
    team: Team = ALONE
    """The processes that train."""
    gather: bool = True
    """Whether the alignment sees the pairs of all of them."""

    def tables(self, representations: Representations) -> Tables:
        """What the alignment reads beside these representations."""
        user, item = representations
        return Tables(user, item, self.backbone.content(self.features))

    def detached_tables(self) -> Tables:
        """Everything that the alignment may read, as it is now, without gradients."""
        with torch.no_grad():
            user, item, content = self.tables(self.backbone())
        return Tables(user.detach(), item.detach(), content)

    def losses(
        self,
        terms: Terms,
        representations: Representations,
        users: Tensor,
        items: Tensor,
        content: Mapping[str, Table] | None = None,
    ) -> Losses:
        """The backbone's terms, and those of the alignment on the pairs `users`, `items`.

        `content` is what it reads of content, where that is not `Backbone.content`.
        """
        if self.alignment is None:
            return Losses(dict(terms), {})
        user, item = representations
        tables = self.tables(representations) if content is None else Tables(user, item, content)
        if self.gather or self.team.size == 1:
            aligned = self.alignment.terms(*tables, users, items)
        else:
            part, weight = self.team.part(len(users)), self.team.weight(len(users))
            with self.team.own_draws():
                aligned = self.alignment.terms(*tables, part_of(users, part), part_of(items, part))
            aligned = {name: weight * value for name, value in aligned.items()}
        named = {f"align/{name}": value for name, value in aligned.items()}
        return Losses({**terms, **named}, self.alignment.diagnostics())
