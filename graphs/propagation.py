"""Message passing back and forth between users and items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from .adjacency import Adjacency, Kernel, checked_rows
from .engines import Engine

if TYPE_CHECKING:
    from .dgl_import import DGLGraph


class Propagation(Protocol):
    """Layers of messages between users and items: over a whole graph, or over sampled blocks."""

    def __call__(self, user: Tensor, item: Tensor, n_layers: int) -> tuple[Tensor, Tensor]:
        """Mean of layers `0 .. n_layers`; layer 0 is `user (n, dim)` and `item (m, dim)`."""


class BipartitePropagation(nn.Module):
    """LightGCN's propagation between users and items (He et al. 2020, equations 3 to 8).

    `e^(l+1) = A e^(l)` with the symmetrically normalised adjacency over users and items, and the
    result is the mean of layers `0 .. n_layers`. The matrix is symmetric, so this linear map is
    its own adjoint: backward is the same routine on the gradients and nothing is saved. Cheap to
    build again for each epoch from a part of the edges.

    Args:
        to_user: adjacency with items as sources and users as destinations, norm `both`.
    """

    def __init__(self, to_user: Adjacency) -> None:
        super().__init__()
        if to_user.norm != "both":
            raise ValueError(f"the adjacency must have norm 'both', not '{to_user.norm}'")
        self.to_user = to_user

    @classmethod
    def from_graph(
        cls, graph: DGLGraph, *, engine: Engine = "auto", eps: float = 1e-7
    ) -> BipartitePropagation:
        """Over the `interacts` edges of a DGL graph of `build_graph`."""
        users, items = graph.edges(etype="interacts")
        n_users, n_items = graph.num_nodes("user"), graph.num_nodes("item")
        return cls.from_edges(users, items, n_users, n_items, engine=engine, eps=eps)

    @classmethod
    def from_edges(
        cls,
        users: Tensor,
        items: Tensor,
        n_users: int,
        n_items: int,
        *,
        engine: Engine = "auto",
        eps: float = 1e-7,
    ) -> BipartitePropagation:
        """Over the pairs `users`, `items`, both `(n_edges,)` int64; see `Adjacency.from_edges`."""
        return cls(
            Adjacency.from_edges(
                items, users, n_items, n_users, norm="both", engine=engine, eps=eps
            )
        )

    def forward(self, user: Tensor, item: Tensor, n_layers: int) -> tuple[Tensor, Tensor]:
        """Mean of layers `0 .. n_layers`.

        Args:
            user: `(n_users, dim)`, layer 0.
            item: `(n_items, dim)`, layer 0.
            n_layers: number of products; 0 returns the input.
        """
        user, item = checked_rows(user, self.to_user.n_dst), checked_rows(item, self.to_user.n_src)
        if n_layers == 0:
            return user, item
        return _LayerMean.apply(user, item, self.to_user, n_layers)

    def layers(self, user: Tensor, item: Tensor, n_layers: int) -> list[tuple[Tensor, Tensor]]:
        """Every layer `0 .. n_layers` by itself, as `(user, item)` pairs."""
        result = [(user, item)]
        for _ in range(n_layers):
            user, item = self.to_user(item), self.to_user.transposed(user)
            result.append((user, item))
        return result


class _LayerMean(torch.autograd.Function):
    """Mean of the layers of a symmetric propagation; its own adjoint."""

    @staticmethod
    def forward(
        ctx: Any, user: Tensor, item: Tensor, to_user: Adjacency, n_layers: int
    ) -> tuple[Tensor, Tensor]:
        ctx.to_user, ctx.n_layers = to_user, n_layers
        return _layer_mean(to_user.kernel(user.dtype), user, item, n_layers)

    @staticmethod
    def backward(
        ctx: Any, grad_user: Tensor, grad_item: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        return (*_LayerMean.apply(grad_user, grad_item, ctx.to_user, ctx.n_layers), None, None)


def _layer_mean(kernel: Kernel, user: Tensor, item: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """`(x + A x + ... + A^n x) / (n + 1)` in Horner form, `acc = x + A acc`.

    With `A = D S D`, the running sums are kept as `D acc`: one scaling at either end and
    `D^2` (1 / degree) between layers, each fused with the addition.
    """
    a, b = kernel.dst_scale, kernel.src_scale
    assert a is not None
    assert b is not None
    a_squared, b_squared = a * a, b * b
    first_user, first_item = user * a, item * b
    acc_user, acc_item = first_user, first_item
    for layer in range(n):
        sum_user, sum_item = kernel.sum(acc_item), kernel.transposed_sum(acc_user)
        if layer < n - 1:
            acc_user = torch.addcmul(first_user, a_squared, sum_user, out=sum_user)
            acc_item = torch.addcmul(first_item, b_squared, sum_item, out=sum_item)
    acc_user = torch.addcmul(user, a, sum_user, out=sum_user)
    acc_item = torch.addcmul(item, b, sum_item, out=sum_item)
    return acc_user.div_(n + 1), acc_item.div_(n + 1)
