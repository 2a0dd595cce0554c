"""Neighbour-level alignment, over whole tables."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def neighbor_level(
    tables: list[Tensor], neighbors: Tensor, temperature: float, items: Tensor
) -> Tensor:
    """CROSS: contrast each distinct item with the mean of its neighbours, in every view.

    Args:
        tables: `(n_items, dim)` each.
        neighbors: `(n_items, k)`.
        temperature: of the contrast.
        items: `(batch,)`.
    """
    distinct = items.unique()
    loss = torch.zeros(())
    for table in tables:
        unit = normalize(table)
        mean = unit[neighbors[distinct]].mean(dim=1)
        masses = (unit[distinct] @ normalize(mean).T / temperature).exp()
        loss = loss - torch.log(masses.diagonal() / masses.sum(1)).mean()
    return loss / len(tables)
