"""Degree-sensitive pruning of the user-item graph (Zhou and Shen, FREEDOM, MM 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..graphs.dgl_import import DGLGraph
from ..graphs.edge_draws import degree_scale, weighted_draw
from ..graphs.propagation import BipartitePropagation


class PrunedPropagation(nn.Module):
    """LightGCN's propagation, on a part of the edges while training and on all in evaluation.

    The part is drawn anew each epoch, without replacement, with probability proportional to
    `1 / sqrt(d_u d_i)` (eq. 1-2), and normalised with the degrees that are left. Before the first
    draw it is all edges.

    Args:
        graph: heterograph with `interacts`.
        dropout: share of the edges left out; 0 always takes all.

    Attributes:
        full: propagation over all edges.
        pruned: propagation over the edges of this epoch.
        kept: users and items of the edges of this epoch, `(n_kept,)` each.
        kept_ids: `(n_kept,)` their positions in `interacts`; None before the first draw.
    """

    def __init__(self, graph: DGLGraph, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.n_nodes = (graph.num_nodes("user"), graph.num_nodes("item"))
        self.edges = graph.edges(etype="interacts", order="eid")
        self.kept = self.edges
        self.kept_ids: Tensor | None = None
        self.full = BipartitePropagation.from_graph(graph)
        self.pruned = self.full

    def redraw(self, rng: torch.Generator) -> None:
        """Draw the edges of the next epoch."""
        if self.dropout > 0:
            n_kept = int(len(self.edges[0]) * (1.0 - self.dropout))
            self.keep(weighted_draw(degree_scale(*self.edges), n_kept, rng))

    def keep(self, kept: Tensor) -> None:
        """Train on the edges at positions `kept` `(n_kept,)` of the `interacts` relation."""
        users, items = self.edges
        users, items = self.kept = users[kept], items[kept]
        self.kept_ids = kept
        self.pruned = BipartitePropagation.from_edges(users, items, *self.n_nodes)
        self.pruned.to(self.full.to_user.indptr.device)

    def forward(self, user: Tensor, item: Tensor, n_layers: int) -> tuple[Tensor, Tensor]:
        """Mean of layers `0 .. n_layers`, `(n_users, dim)` and `(n_items, dim)`."""
        graph = self.pruned if self.training else self.full
        return graph(user, item, n_layers)
