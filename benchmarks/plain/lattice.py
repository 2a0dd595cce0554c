"""LATTICE."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .graph import both_ways, coo, layer_mean
from .losses import ranking_loss


class LATTICE(nn.Module):
    """Dense item graphs, built under autograd in the first batch of each epoch.

    The published code scales a graph by products with dense diagonal matrices, which is most of its
    epoch; `diagonal_products=False` multiplies rows and columns instead. The graphs of the raw
    features are built once and scaled that way in any case.
    """

    def __init__(
        self,
        pairs: Tensor,
        n_users: int,
        n_items: int,
        features: Mapping[str, Tensor],
        *,
        dim: int = 64,
        n_layers: int = 2,
        n_neighbors: int = 10,
        original_share: float = 0.9,
        diagonal_products: bool = True,
    ) -> None:
        super().__init__()
        self.sizes, self.n_layers, self.n_neighbors = (n_users, n_items), n_layers, n_neighbors
        self.original_share, self.diagonal_products = original_share, diagonal_products
        self.user_embedding = nn.Parameter(torch.empty(n_users, dim))
        self.item_embedding = nn.Parameter(torch.empty(n_items, dim))
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)
        self.features = nn.ParameterDict({m: x.clone() for m, x in features.items()})
        self.projectors = nn.ModuleDict(
            {m: nn.Linear(x.shape[1], dim) for m, x in features.items()}
        )
        self.modal_weight = nn.Parameter(torch.full((len(features),), 1 / len(features)))
        self.originals = [scaled(self.nearest(x)) for x in features.values()]
        self.adjacency = mean_adjacency(pairs, n_users, n_items)
        self.item_graph: Tensor | None = None

    def begin_epoch(self) -> None:
        """Have the next batch build the item graph again."""
        self.item_graph = None

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        ego = torch.cat([self.user_embedding, self.item_embedding])
        content = [self.projectors[m](self.features[m]) for m in self.projectors]
        graph = self.item_graph
        if graph is None:
            graph = self.build(content)
            self.item_graph = graph.detach()
        user, item = layer_mean(self.adjacency, ego, self.n_layers).split(self.sizes)
        item = item + normalize(graph @ self.item_embedding)
        return ranking_loss(user[users], item[items], item[negatives])

    def build(self, content: list[Tensor]) -> Tensor:
        """The `(n_items, n_items)` item graph of the projected content."""
        weights = self.modal_weight.softmax(0)
        learned = sum(w * self.nearest(x) for w, x in zip(weights, content, strict=True))
        fixed = sum(w * graph for w, graph in zip(weights, self.originals, strict=True))
        share = self.original_share
        learned = scaled(learned, diagonal_products=self.diagonal_products)
        return (1 - share) * learned + share * fixed

    def nearest(self, table: Tensor) -> Tensor:
        """The largest cosines of each row, a dense matrix."""
        unit = normalize(table)
        cosines = unit @ unit.T
        values, indices = cosines.topk(self.n_neighbors, dim=1)
        return torch.zeros_like(cosines).scatter(1, indices, values)


def scaled(graph: Tensor, *, diagonal_products: bool = False) -> Tensor:
    """`D^-1/2 S D^-1/2` with the row sums D."""
    scale = graph.sum(1) ** -0.5
    if not diagonal_products:
        return scale.unsqueeze(1) * graph * scale
    diagonal = torch.diagflat(scale)
    return diagonal @ graph @ diagonal


def mean_adjacency(pairs: Tensor, n_users: int, n_items: int) -> Tensor:
    """`D^-1 (A + I)` over users and items."""
    sources, targets = both_ways(pairs, n_users)
    n = n_users + n_items
    loops = torch.arange(n)
    sources, targets = torch.cat([sources, loops]), torch.cat([targets, loops])
    degree = torch.bincount(targets, minlength=n).to(torch.get_default_dtype())
    return coo(targets, sources, 1 / degree[targets], n)
