"""Message passing between users and items with a learnt weight per edge.

Everything is as long as the edge list, or as the node tables: gathered rows, `(n_edges, dim)`,
exist one block at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .adjacency import checked_rows
from .engines import to_csr

if TYPE_CHECKING:
    from .dgl_import import DGLGraph

_BLOCK = 1 << 14


class EdgeWeights(nn.Module):
    """Sums and inner products along the edges between users and items.

    Per-edge tensors, `(n_edges,)`, are in the order of the given edges. The three operations are
    differentiable once: the gradient of a weighted sum is a weighted sum the other way and an
    inner product per edge, and the other way round. Buffers move with `.to(device)` and are not
    part of the state dict.

    Args:
        users: `(n_edges,)` int64.
        items: `(n_edges,)` int64.
        n_users: number of users.
        n_items: number of items.
    """

    users: Tensor
    items: Tensor

    def __init__(self, users: Tensor, items: Tensor, n_users: int, n_items: int) -> None:
        super().__init__()
        self.n_users, self.n_items = n_users, n_items
        by_user = to_csr(items, users, n_items, n_users)
        by_item = to_csr(users, items, n_users, n_items)
        buffers = {
            "users": users,
            "items": items,
            "user_indptr": by_user.indptr,
            "user_neighbors": by_user.indices,
            "user_order": users.argsort(stable=True),
            "item_indptr": by_item.indptr,
            "item_neighbors": by_item.indices,
            "item_order": items.argsort(stable=True),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)

    @classmethod
    def from_graph(cls, graph: DGLGraph) -> EdgeWeights:
        """Over the `interacts` edges of a DGL graph of `build_graph`, by edge id."""
        users, items = graph.edges(etype="interacts", order="eid")
        return cls(users, items, graph.num_nodes("user"), graph.num_nodes("item"))

    def to_user(self, weights: Tensor, item: Tensor) -> Tensor:
        """`out[u] = sum of weights[e] item[i]` over the edges e = (u, i), `(n_users, dim)`."""
        return _WeightedSum.apply(weights, checked_rows(item, self.n_items), self, "user")

    def to_item(self, weights: Tensor, user: Tensor) -> Tensor:
        """`out[i] = sum of weights[e] user[u]` over the edges e = (u, i), `(n_items, dim)`."""
        return _WeightedSum.apply(weights, checked_rows(user, self.n_users), self, "item")

    def dot(self, user: Tensor, item: Tensor) -> Tensor:
        """`<user[u], item[i]>` of every edge, `(n_edges,)`."""
        user, item = checked_rows(user, self.n_users), checked_rows(item, self.n_items)
        return _EdgeDot.apply(user, item, self)

    def softmax_at_users(self, logits: Tensor) -> Tensor:
        """Softmax among the edges of the same user; `logits` `(n_edges,)` must be small."""
        return _shares(logits, self.users, self.n_users)

    def softmax_at_items(self, logits: Tensor) -> Tensor:
        """Softmax among the edges of the same item; `logits` `(n_edges,)` must be small."""
        return _shares(logits, self.items, self.n_items)

    def weighted_sum(self, weights: Tensor, x: Tensor, at: str) -> Tensor:
        """Sums at the nodes `at`, `user` or `item`; not differentiable, see `to_user`."""
        out, *_ = torch.embedding_bag(
            x.contiguous(),
            getattr(self, f"{at}_neighbors"),
            getattr(self, f"{at}_indptr"),
            False,
            0,
            False,
            weights.index_select(0, getattr(self, f"{at}_order")),
            True,
        )
        return out

    def edge_dots(self, user: Tensor, item: Tensor) -> Tensor:
        """Inner products by blocks of edges; not differentiable, see `dot`."""
        out = user.new_empty(len(self.users))
        for start in range(0, len(out), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = user.index_select(0, self.users[block])
            out[block] = (rows * item.index_select(0, self.items[block])).sum(1)
        return out


class _WeightedSum(torch.autograd.Function):
    """Weighted sum of neighbours' rows."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, x: Tensor, edges: EdgeWeights, at: str) -> Tensor:
        ctx.save_for_backward(weights, x)
        ctx.edges, ctx.at = edges, at
        return edges.weighted_sum(weights, x, at)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        weights, x = ctx.saved_tensors
        user, item = (grad, x) if ctx.at == "user" else (x, grad)
        other = "item" if ctx.at == "user" else "user"
        to_weights = ctx.edges.edge_dots(user, item)
        return to_weights, ctx.edges.weighted_sum(weights, grad, other), None, None


class _EdgeDot(torch.autograd.Function):
    """Inner product of the two ends of every edge."""

    @staticmethod
    def forward(ctx: Any, user: Tensor, item: Tensor, edges: EdgeWeights) -> Tensor:
        ctx.save_for_backward(user, item)
        ctx.edges = edges
        return edges.edge_dots(user, item)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        user, item = ctx.saved_tensors
        to_user = ctx.edges.weighted_sum(grad, item, "user")
        return to_user, ctx.edges.weighted_sum(grad, user, "item"), None


def _shares(logits: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """`exp(logits)` over its sum within each group."""
    masses = logits.exp()
    totals = masses.new_zeros(n_groups).index_add(0, group, masses)
    return masses / totals.index_select(0, group)
