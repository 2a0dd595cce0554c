"""SLMRec: self-supervised fusion of content propagated over the user-item graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import unit_rows
from ..tensors.ids import Repeated
from ..tensors.representations import Representations
from ..tensors.tables import Projected, rows_of, xavier, xavier_table
from .base import BACKBONES, Backbone, Batch
from .contrast import in_batch_contrast
from .feature_tables import FeatureTables
from .linear import TableLinear

Product = Callable[[Tensor], Tensor]
"""The product of an adjacency with a table."""


@BACKBONES.register("slmrec", paper="Tao et al., SLMRec, TMM 2022")
class SLMRec(Backbone):
    """Ids and contents propagated side by side, fused by a linear map, contrasted in a chain.

    Item ids and the projected content of every modality (rows scaled to length one first) are
    propagated with the same user table, LightGCN's layer mean; `[id ; modality 1 ; ...]` is fused
    by one `Linear` for users and one for items. The main loss is in-batch InfoNCE on cosines from
    users to items: repeats of an item in a batch count as negatives, sampled negatives are not
    used. Representations are ranked by their inner product; the released code's sigmoid on top
    changes no rank and makes ties in float32, so it is left out.

    Self-supervision is FAC, from fine to coarse spaces: a head maps item ids into the first
    space, linear maps lead from each space to the next, and in each space the items of the batch
    are contrasted with one modality by inner products. The last modality is in the last space,
    which is half as wide. Adam's weight decay was 1e-4 in the published runs.

    Args:
        graph: heterograph with the relations `interacts` and `interacted_by`.
        features: modality name -> `(n_items, d_m)`; the chain visits them in this order.
        dim: embedding size.
        n_layers: propagation layers.
        temperature: of the main loss.
        reg_weight: weight of the self-supervised terms.
        ssl_temperature: of the self-supervised terms.
        n_spaces: spaces of the chain at least, for two modalities and more. The published model
            was made for three modalities: with two the chain passes through a space of nobody.
    """

    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 3,
        temperature: PositiveFloat = 0.2,
        reg_weight: NonNegativeFloat = 0.01,
        ssl_temperature: PositiveFloat = 0.2,
        n_spaces: PositiveInt = 3,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers = n_layers
        self.temperature = temperature
        self.reg_weight = reg_weight
        self.ssl_temperature = ssl_temperature
        self.propagation = BipartitePropagation.from_graph(graph, eps=1e-8)
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim)
        unit = {name: unit_rows(table) for name, table in features.items()}
        self.features = FeatureTables(unit, trainable=False)
        self.projectors = nn.ModuleDict(
            {
                name: xavier(TableLinear(len(table), table.shape[1], dim))
                for name, table in features.items()
            }
        )
        width = dim * (1 + len(features))
        self.user_fusion = xavier(TableLinear(len(self.user_embedding), width, dim))
        self.item_fusion = xavier(TableLinear(len(self.item_embedding), width, dim))
        self.chain = Chain(tuple(features), dim, n_spaces)
        self.views: tuple[Tensor, ...] = ()

    def forward(self) -> Representations:
        """Fused tables, `(n_users, dim)` and `(n_items, dim)`.

        The propagated item tables of this call are kept for the self-supervised terms of `loss`.
        """
        content = [projector(self.features[m]) for m, projector in self.projectors.items()]
        items = torch.cat([self.item_embedding, *content], dim=1)
        to_user, to_item = self.propagation.to_user, self.propagation.to_user.transposed
        # Propagation is linear and the users are the same in all views: their share is the same.
        item, from_items = one_sided_means(items, to_user, to_item, self.n_layers)
        user, from_users = one_sided_means(self.user_embedding, to_item, to_user, self.n_layers)
        shape = (-1, 1 + len(content), self.representation_dim)
        user = (from_items.view(shape) + user.unsqueeze(1)).flatten(1)
        item = (item.view(shape) + from_users.unsqueeze(1)).flatten(1)
        self.views = item.split(self.representation_dim, dim=1)
        return Representations(self.user_fusion(user), self.item_fusion(item))

    def __getstate__(self) -> dict[str, Any]:
        """What a forward keeps for `loss` is not copied or pickled."""
        return {**self.__dict__, "views": ()}

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `main` and one `fac_<modality>` each, of the last `forward`."""
        users, items = Repeated.of_batch(batch.users), Repeated.of_batch(batch.items)
        user = unit_rows(rows_of(representations.user, users.ids))
        item = unit_rows(rows_of(representations.item, items.ids))
        main = in_batch_contrast(user, users, item, items, self.temperature)
        terms = {"main": main / len(batch.items)}
        if self.reg_weight > 0:
            views = [view.index_select(0, items.ids) for view in self.views]
            for name, (ours, theirs) in self.chain(views[0], views[1:]).items():
                # Neither side has length one, so these logits are not bounded.
                fac = in_batch_contrast(
                    ours, items, theirs, items, self.ssl_temperature, bounded=False
                )
                terms[f"fac_{name}"] = self.reg_weight * fac / len(batch.items)
        return terms

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own projectors, before propagation."""
        return self.features.through(self.projectors)


def one_sided_means(
    start: Tensor, out: Product, back: Product, n_layers: int
) -> tuple[Tensor, Tensor]:
    """Means of layers `0 .. n_layers` on both sides, if all rows of the other side start at zero.

    Half of the products of a propagation from both sides: every layer lives on one side only.

    Args:
        start: `(n, dim)` layer 0.
        out: product with the adjacency towards the other side.
        back: that from there.
        n_layers: layers.

    Returns:
        The mean on this side, `(n, dim)`, and on the other; that is `(1, dim)` without layers.
    """
    start = start / (n_layers + 1)
    near, far = start, torch.zeros_like(start[:1])
    # Horner form: near is the sum of (back out)^l start, far that of out (back out)^l start
    for _ in range(n_layers // 2):
        far = out(near)
        near = start + back(far)
    return near, out(near) if n_layers % 2 else far


class Chain(nn.Module):
    """Heads of ids and modalities into spaces from fine to coarse.

    Args:
        names: modalities in the order of the chain.
        dim: width of the rows, and of all spaces but the last of two or more (half of it).
        n_spaces: spaces at least, for two modalities and more.
    """

    def __init__(self, names: tuple[str, ...], dim: int, n_spaces: int) -> None:
        super().__init__()
        coarse = max(dim // 2, 1)
        n_steps = max(len(names), n_spaces) - 1 if len(names) > 1 else 0
        self.item = xavier(nn.Linear(dim, dim))
        self.steps = nn.ModuleList(
            xavier(nn.Linear(dim, coarse if step == n_steps - 1 else dim))
            for step in range(n_steps)
        )
        is_coarse = [n_steps > 0 and name == names[-1] for name in names]
        self.heads = nn.ModuleDict(
            {
                name: xavier(nn.Linear(dim, coarse if last else dim))
                for name, last in zip(names, is_coarse, strict=True)
            }
        )

    def forward(self, item: Tensor, content: list[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Item and content of each modality in their common space, by modality.

        Args:
            item: `(batch, dim)` rows of the ids.
            content: `(batch, dim)` rows of each modality.
        """
        spaces = [self.item(item)]
        for step in self.steps:
            spaces.append(step(spaces[-1]))
        ours = [*spaces[: len(content) - 1], spaces[-1]]
        return {
            name: (rows, head(theirs))
            for (name, head), rows, theirs in zip(self.heads.items(), ours, content, strict=True)
        }
