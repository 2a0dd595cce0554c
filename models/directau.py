"""DirectAU: alignment of positive pairs and uniformity of users and items, no negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import known_gradient, row_blocks, unit_rows
from ..tensors.representations import Representations
from ..tensors.tables import xavier_table
from .base import BACKBONES, Backbone, Batch
from .objectives import half_squared_norm


@BACKBONES.register("directau", paper="Wang et al., DirectAU, KDD 2022")
class DirectAU(Backbone):
    """Matrix factorisation or LightGCN that optimises alignment and uniformity on the sphere.

    With unit rows `x` of the batch's users and `y` of its items, the loss is
    `mean |x - y|^2 + gamma * (uniformity(x) + uniformity(y)) / 2` (eq. 5 to 7). The sampled
    negatives of the batch are not used.

    Args:
        graph: heterograph with the relation `interacts`.
        features: ignored.
        dim: embedding size.
        encoder: `mf`, the tables themselves, or `lightgcn`, the mean of their propagated layers.
        n_layers: propagation layers of the encoder `lightgcn`.
        gamma: weight of uniformity, by default that of the authors' code; published values go from
            0.4 on a sparse data set (Amazon Beauty) to 2 and more on denser ones.
        reg_weight: published weight decay, as `reg_weight / 2` times the squared norm of both
            tables: its gradient is what Adam's weight decay adds, by default 1e-6, the authors'.
            Comes on top of the trainer's.
        cosine_scores: representations are unit rows, so that scores are cosines; else scores are
            inner products of un-normalised rows, as in the authors' code.
    """

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        encoder: Literal["mf", "lightgcn"] = "mf",
        n_layers: NonNegativeInt = 3,
        gamma: NonNegativeFloat = 1.0,
        reg_weight: NonNegativeFloat = 1e-6,
        cosine_scores: bool = False,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers = n_layers if encoder == "lightgcn" else 0
        self.gamma = gamma
        self.reg_weight = reg_weight
        self.cosine_scores = cosine_scores
        self.propagation = BipartitePropagation.from_graph(graph)
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim, normal=True)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim, normal=True)

    def forward(self) -> Representations:
        """The encoder's tables, `(n_users, dim)` and `(n_items, dim)`."""
        user, item = self.propagation(self.user_embedding, self.item_embedding, self.n_layers)
        if self.cosine_scores:
            return Representations(unit_rows(user), unit_rows(item))
        return Representations(user, item)

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `alignment`, `uniformity_user` and `uniformity_item`, and `reg` if weighted."""
        user = unit_rows(representations.user.index_select(0, batch.users))
        item = unit_rows(representations.item.index_select(0, batch.items))
        terms = {
            "alignment": (user - item).square().sum(1).mean(),
            "uniformity_user": self.gamma / 2 * uniformity(user),
            "uniformity_item": self.gamma / 2 * uniformity(item),
        }
        if self.reg_weight > 0:
            tables = (self.user_embedding, self.item_embedding)
            terms["reg"] = self.reg_weight * half_squared_norm(tables)
        return terms


def uniformity(rows: Tensor) -> Tensor:
    """`log mean_{a < b} exp(-2 |x_a - x_b|^2)` over all pairs of rows, repeated rows included.

    Eq. 6 of DirectAU (Wang and Isola, ICML 2020). The kernel exists one block of rows at a time;
    the gradient is formed with it.

    Args:
        rows: `(n, dim)`, of length one or at least short: distances come from inner products.

    Returns:
        Scalar, 0 when there are fewer than two rows.
    """
    n = len(rows)
    if n < 2:
        return rows.new_zeros(())
    with torch.no_grad():
        x = rows.detach()
        squares = x.square().sum(1)
        pulled, masses = torch.empty_like(x), x.new_empty(n, 1)
        for block in row_blocks(n, n, x.device):
            kernel = torch.addmm(squares, x[block], x.T, beta=-2, alpha=4)
            kernel.sub_(2 * squares[block].unsqueeze(1)).exp_()
            kernel.diagonal(offset=block.start).zero_()
            masses[block] = kernel.sum(1, keepdim=True)
            pulled[block] = kernel @ x
        total = masses.sum()  # every pair counts twice
        value = (total / (n * (n - 1))).log()
        gradient = (pulled - masses * x) * (8 / total)
    return known_gradient(value, (rows,), (gradient,))
