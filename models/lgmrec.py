"""LGMRec: content propagated once, and soft hyperedges that users and items share."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import dropout as drop

from ..graphs.adjacency import Adjacency
from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import unit_rows, widened
from ..tensors.ids import Repeated
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier, xavier_table
from .base import BACKBONES, Backbone, Batch
from .contrast import cosine_contrast_of
from .feature_tables import FeatureTables
from .linear import TableLinear, linear_table
from .objectives import batch_rows, bpr_loss, norm_regulariser

EPS = 1e-7
"""Added to numbers of neighbours, as published."""

Noise = Literal["gumbel", "logistic", "none"]
"""What is added to the logits of the hyperedges."""


@BACKBONES.register("lgmrec", paper="Guo et al., LGMRec, AAAI 2024")
class LGMRec(Backbone):
    """LightGCN on ids, plus content over the same graph, plus a soft hypergraph per modality.

    `R = C + sum_m unit(A^K [mean of the user's items ; X_m W_m]) + alpha unit(sum_m G_m)`, C
    LightGCN's layer mean of the ids and A the normalised adjacency. Items belong to H hyperedges
    by `P_i = softmax((X_m V_m + noise) / t)`, users by the sum of their items' logits; C runs from
    the items to the hyperedges and back, `e = P_i^T z, z = P_i e`, and on to users, `P_u e`, which
    gives G_m. Beside BPR, the views G of two modalities are contrasted against all users and all
    items, a mean over pairs of modalities.

    The released code draws noise while evaluating too, anew for every batch of users; here it is
    drawn while training alone, unless `eval_noise` is set. An item without a modality belongs to no
    hyperedge of it and is left out of the means and of the contrast; so does a user whose items all
    lack it.

    Args:
        graph: heterograph with the relations `interacts` and `interacted_by`.
        features: modality name -> `(n_items, d_m)`, frozen.
        dim: embedding size, also of the projected content.
        n_layers: layers of the ids on the user-item graph; 0 is matrix factorisation.
        n_content_layers: products K of content with A, of which the last one counts.
        n_hyper_layers: rounds over the hyperedges; published runs took 1 or 2.
        n_hyperedges: hyperedges H of each modality; published runs took 4 or 64.
        dropout: share of P set to zero while training; published runs took 0.5 to 0.8.
        alpha: weight of the hypergraph views; published runs took 0.2 to 0.6.
        temperature: t, of the hyperedges and of the contrast.
        noise: `gumbel` as released, `logistic` as printed, or `none`.
        eval_noise: add noise while evaluating too, the same one each time.
        cl_weight: weight of the contrast.
        contrast_reduction: `sum` over the batch, as published, or its `mean`.
        reg_weight: weight of the norm regulariser over the batch rows of the representations.
    """

    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    present: Tensor
    n_with: Tensor

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 2,
        n_content_layers: NonNegativeInt = 2,
        n_hyper_layers: PositiveInt = 1,
        n_hyperedges: PositiveInt = 4,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        alpha: NonNegativeFloat = 0.3,
        temperature: PositiveFloat = 0.2,
        noise: Noise = "gumbel",
        eval_noise: bool = False,
        cl_weight: NonNegativeFloat = 1e-4,
        contrast_reduction: Literal["sum", "mean"] = "sum",
        reg_weight: NonNegativeFloat = 1e-6,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers, self.n_content_layers = n_layers, n_content_layers
        self.n_hyper_layers, self.n_hyperedges = n_hyper_layers, n_hyperedges
        self.dropout, self.alpha, self.temperature = dropout, alpha, temperature
        self.noise, self.eval_noise = noise, eval_noise
        self.cl_weight, self.contrast_reduction = cl_weight, contrast_reduction
        self.reg_weight = reg_weight
        n_items = graph.num_nodes("item")
        self.propagation = BipartitePropagation.from_graph(graph, eps=EPS)
        self.items_of = Adjacency.from_graph(graph, "interacted_by", norm="none")
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim)
        self.item_embedding = xavier_table(n_items, dim)
        self.features = FeatureTables(features, trainable=False)
        self.projectors = _linear_maps(features, dim)
        self.hyperedges = _linear_maps(features, n_hyperedges)
        present = torch.stack([table.any(dim=1) for table in features.values()], dim=1)
        self.complete = bool(present.all())
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("n_with", self.items_of(present.float()), persistent=False)
        self.views: dict[str, Representations] = {}

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`.

        The hypergraph views of this call are kept for the contrast of `loss`.
        """
        ids = Representations(
            *self.propagation(self.user_embedding, self.item_embedding, self.n_layers)
        )
        content, logits = self._read_content()
        local = self._local(*content)
        incidence = self._incidence(*logits)
        self.views = {
            name: self._hypergraph(user, item, ids.item)
            for name, user, item in zip(self.projectors, *incidence, strict=True)
        }
        shared = zip(*self.views.values(), strict=True)
        total = [
            own + near + self.alpha * unit_rows(torch.stack(views).sum(0))
            for own, near, views in zip(ids, local, shared, strict=True)
        ]
        return Representations(*total)

    def _read_content(self) -> tuple[Representations, Representations]:
        """Content and logits, `(n, M, dim)` and `(n, M, H)`, of users and of items.

        Users have the mean of their items' content, and the sum of their logits. Every table of
        features is read once for both, and so are the items of a user.
        """
        read = []
        for name in self.projectors:
            maps = self.projectors[name], self.hyperedges[name]
            weight = torch.cat([layer.get_parameter("weight") for layer in maps])
            read.append(widened(linear_table(self.features[name], weight)))
        item = torch.stack(read, dim=1)
        user = self.items_of(item.flatten(1)).view(-1, *item.shape[1:])
        widths = [self.representation_dim, self.n_hyperedges]
        (user, user_logits), (item, item_logits) = user.split(widths, 2), item.split(widths, 2)
        mean = user / (self.n_with.to(user) + EPS).unsqueeze(2)
        return Representations(mean, item), Representations(user_logits, item_logits)

    def _local(self, user: Tensor, item: Tensor) -> Representations:
        """Sum over the modalities of propagated content, rows of length one."""
        layers = self.propagation.layers(user.flatten(1), item.flatten(1), self.n_content_layers)
        unit = [unit_rows(side.view(len(side), *item.shape[1:])) for side in layers[-1]]
        return Representations(*(side.sum(1) for side in unit))

    def _incidence(self, user: Tensor, item: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """How far users and items belong to the hyperedges, `(n, H)` for each modality."""
        noisy = self.noise != "none" and (self.training or self.eval_noise)
        shares: tuple[list[Tensor], list[Tensor]] = ([], [])
        members = zip(*self.members(), strict=True)
        for both in zip(user.unbind(1), item.unbind(1), members, strict=True):
            *logits, there = both
            # Items first, then users, as published.
            for side in (1, 0):
                share = logits[side] + self.drawn(logits[side]) if noisy else logits[side]
                share = (share / self.temperature).softmax(dim=1)
                if not self.complete:
                    share = share * there[side].unsqueeze(1)
                shares[side].append(share)
        return shares

    def _hypergraph(self, user: Tensor, item: Tensor, start: Tensor) -> Representations:
        """G of one modality, from its incidence and the ids of the items."""
        item, user = self.dropped(item), self.dropped(user)
        for _ in range(self.n_hyper_layers):
            edges = item.T @ start
            start = item @ edges
        return Representations(user @ edges, start)

    def drawn(self, logits: Tensor) -> Tensor:
        """Noise for `logits`, independent for every entry."""
        rng = None
        if not self.training:
            rng = torch.Generator(logits.device).manual_seed(0)
        noise = _gumbel(logits, rng)
        return noise if self.noise == "gumbel" else noise - _gumbel(logits, rng)

    def dropped(self, share: Tensor) -> Tensor:
        """`share`, of which a part is zero while training and the rest is scaled."""
        return drop(share, self.dropout, self.training)

    def members(self) -> tuple[Tensor, Tensor]:
        """Which users and items have hyperedges, bool, `(M, n_users)` and `(M, n_items)`."""
        # A user without any items lacks nothing.
        some = (self.n_with > 0) | (self.n_with.sum(1, keepdim=True) == 0)
        return some.T, self.present.T

    def __getstate__(self) -> dict[str, Any]:
        """What a forward keeps for `loss` is not copied or pickled."""
        return {**self.__dict__, "views": {}}

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, and unless their weight is 0 `reg`, `hcl_user` and `hcl_item`.

        The contrast is of the last `forward`; a single modality has none.
        """
        rows = batch_rows(*representations, batch)
        terms = {"bpr": bpr_loss(rows, eps=0)}
        if self.reg_weight > 0:
            terms["reg"] = self.reg_weight * norm_regulariser(rows)
        if self.cl_weight > 0 and len(self.views) > 1:
            terms["hcl_user"] = self.cl_weight * self._contrast("user", batch.users)
            terms["hcl_item"] = self.cl_weight * self._contrast("item", batch.items)
        return terms

    def _contrast(self, side: Literal["user", "item"], ids: Tensor) -> Tensor:
        """InfoNCE of one view against another of all users or items, a mean over pairs of views."""
        views = [getattr(view, side) for view in self.views.values()]
        there = self.members()[side == "item"]
        nodes, values = Repeated.of_batch(ids), []
        for a, b in combinations(range(len(views)), 2):
            some = {} if self.complete else {"anchored": there[a] & there[b], "allowed": there[b]}
            values.append(cosine_contrast_of(views[a], views[b], nodes, self.temperature, **some))
        total = torch.stack(values).mean()
        return total / len(ids) if self.contrast_reduction == "mean" else total

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own linear maps."""
        return self.features.through(self.projectors)


def _linear_maps(features: Mapping[str, Tensor], width: int) -> nn.ModuleDict:
    """A linear map from the features of each modality, without bias."""
    return nn.ModuleDict(
        {
            name: xavier(TableLinear(len(table), table.shape[1], width, bias=False))
            for name, table in features.items()
        }
    )


def _gumbel(like: Tensor, rng: torch.Generator | None) -> Tensor:
    """Standard Gumbel noise."""
    return -torch.empty_like(like).exponential_(generator=rng).log()
