"""Square sparse adjacencies of users and items, and LightGCN's propagation on them."""

from __future__ import annotations

import torch
from torch import Tensor


def coo(rows: Tensor, cols: Tensor, values: Tensor, n: int) -> Tensor:
    """A coalesced `(n, n)` matrix; repeated entries add."""
    index = torch.stack([rows, cols])
    return torch.sparse_coo_tensor(index, values, (n, n), check_invariants=True).coalesce()


def both_ways(pairs: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Sources and targets of all edges: from users to items, then from items to users."""
    users, items = pairs[0], pairs[1] + n_users
    return torch.cat([users, items]), torch.cat([items, users])


def symmetric_adjacency(pairs: Tensor, n_users: int, n_items: int, eps: float = 1e-7) -> Tensor:
    """`D^-1/2 A D^-1/2` over users and items, with `eps` added to the degrees."""
    n = n_users + n_items
    sources, targets = both_ways(pairs, n_users)
    scale = (torch.bincount(sources, minlength=n) + eps) ** -0.5
    return coo(targets, sources, scale[sources] * scale[targets], n)


def layer_mean(adjacency: Tensor, table: Tensor, n_layers: int) -> Tensor:
    """Mean of layers `0 .. n_layers` of `(n, dim)` rows."""
    layers = [table]
    for _ in range(n_layers):
        layers.append(torch.sparse.mm(adjacency, layers[-1]))
    return torch.stack(layers, dim=1).mean(dim=1)
