"""Item-level alignment with direction tuning, over whole tables."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def item_level(
    user: Tensor,
    tables: Mapping[str, Tensor],
    maps: Mapping[str, Tensor],
    temperature: Tensor,
    users: Tensor,
    items: Tensor,
    *,
    dynamic: bool,
) -> Tensor:
    """`ILA + DT` of FETTLE, or with CROSS's dynamic rule; logits of all items in all directions.

    Args:
        user: `(n_users, dim)`.
        tables: `(n_items, dim)` by view; the first is `id`.
        maps: `(dim, dim)` weight of the map `<source>_to_<target>`.
        temperature: scalar.
        users: `(batch,)`.
        items: `(batch,)`.
        dynamic: raise the target's score by its uncertainty.
    """
    distinct, position, counts = items.unique(return_inverse=True, return_counts=True)
    user = normalize(user).detach()
    unit = {m: normalize(table) for m, table in tables.items()}

    def mean_score(rows: Tensor) -> Tensor:
        """Mean over an item's pairs of the cosine of its user and the item's row."""
        found = (user[users] * rows[position]).sum(1) / counts[position]
        return rows.new_zeros(len(distinct)).scatter_add(0, position, found)

    scores = {m: mean_score(table[distinct]).detach() for m, table in unit.items()}
    labels = torch.arange(len(distinct), device=distinct.device)
    loss = torch.zeros(())
    for name, weight in maps.items():
        source, target = name.split("_to_")
        aim = scores[target]
        if dynamic:
            aim = aim + aim.var() * (torch.exp(1 - aim) - 1)
        active = aim > scores[source]
        if not active.any():
            continue
        rows = unit[source][distinct]
        moved = normalize(rows @ weight.T + rows)
        logits = (moved @ unit[target][distinct].detach().T)[active] / temperature
        found = cross_entropy(logits, labels[active], reduction="sum") / len(distinct)
        gain = (mean_score(moved) - scores[source])[active].mean()
        loss = loss + found - gain / len(maps)
    return loss
