"""LIRDRec: items without ids, made of their content alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ..graphs.dgl_import import DGLGraph
from ..tensors.cosine_transform import inverse_cosine_transform
from ..tensors.functional import unit_rows, widened
from ..tensors.representations import Representations
from ..tensors.tables import xavier_table
from .base import BACKBONES, Backbone, Batch
from .feature_tables import FeatureTables
from .item_graphs import ItemGraphs
from .linear import TableLinear, linear_table
from .objectives import batch_rows, bpr_loss
from .pruning import PrunedPropagation

Copied = Literal["probabilities", "logits", "off"]
"""What of the mixture becomes the users' own at the beginning of an epoch."""


@BACKBONES.register("lirdrec", paper="Zhou et al., LIRDRec, arXiv 2505.04960, 2025")
class LIRDRec(Backbone):
    """Small networks of content for items, free tables for users, and no item ids at all.

    There is one block of representations for each modality, and a shared one of all of them,
    cosine-transformed and put side by side. In each, items are `c = W2 leaky_relu(W1 x + b)`,
    users a table P, all rows of length one, and Z is the sum of the layers 0 to L over the
    interactions. Items are `Z + S^K Z` with the item graph S of FREEDOM. Users weigh their blocks
    by `softmax(v a(Z) + (1 - v) T)`: a small network `a` in every block, and weights T of the
    user's own. The share v of the network starts at `decay_weight` and falls in each epoch,
    T becomes the mixture of the last step whenever an epoch begins.

    The loss is BPR plus the mean squares of all representations. An item without content in one
    modality has no row in its block. As items have no ids, content alone places a new one.

    Args:
        graph: heterograph with `interacts`, `interacted_by` and one `similar_<modality>` each.
        features: modality name -> `(n_items, d_m)`.
        dim: width of a block; representations of M modalities are `(M + 1) dim` wide.
        n_layers: layers L on the user-item graph; published runs tried 2 to 4.
        n_item_layers: layers K on the item graph.
        dropout: share of user-item edges left out in each training epoch, as FREEDOM does;
            published runs kept all.
        modality_weights: weights of the item graphs by modality name; equal if not given. Published
            runs gave the image 0.1 or 0.2, and the text the rest.
        reg_weight: weight of the mean squares of both tables; published runs tried 1e-4 to 1e-2.
        decay_weight: share v of the network before the first epoch; published runs tried 0.9 to
            0.99.
        decay_base: `v / (1 - v)` falls to `decay_base**e` of itself as epoch e begins.
        weight_copy: what T becomes. The published code takes the `probabilities` themselves, which
            the next softmax flattens: after some ten epochs all blocks weigh nearly the same.
            `logits` hands over what the softmax was taken of. `off` weighs all blocks the same
            throughout, without a network.
        transform: `dct` transforms the content of the shared block. As a map of the same content
            it is no other model than with `none`, but starts elsewhere and has other gradients.
    """

    relations: ClassVar[tuple[str, ...]] = ("interacts", "interacted_by", "similar")
    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True
    present: Tensor

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 2,
        n_item_layers: NonNegativeInt = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        modality_weights: Mapping[str, float] | None = None,
        reg_weight: NonNegativeFloat = 1e-3,
        decay_weight: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        decay_base: Annotated[float, Field(gt=0, le=1)] = 0.9,
        weight_copy: Copied = "probabilities",
        transform: Literal["dct", "none"] = "dct",
    ) -> None:
        super().__init__()
        n_users, n_blocks = graph.num_nodes("user"), len(features) + 1
        self.representation_dim = n_blocks * dim
        self.n_layers, self.n_item_layers = n_layers, n_item_layers
        self.reg_weight = reg_weight
        self.transform = transform
        self.propagation = PrunedPropagation(graph, dropout)
        self.item_graphs = ItemGraphs(graph, modality_weights)
        self.features = FeatureTables(features, trainable=False)
        present = torch.stack([table.any(dim=1) for table in features.values()])
        self.register_buffer("present", present, persistent=False)
        self.widths = [table.shape[1] for table in features.values()]
        self.preferences, self.networks = nn.ParameterDict(), nn.ModuleDict()
        for name, table in features.items():
            self.preferences[name] = xavier_table(n_users, dim, normal=True)
            self.networks[name] = _network(len(table), table.shape[1], dim)
        self.shared_preferences = xavier_table(n_users, dim, normal=True)
        self.shared_network = _network(graph.num_nodes("item"), sum(self.widths), dim)
        self.mixture = None
        if weight_copy != "off":
            self.mixture = Mixture(
                n_users, n_blocks, dim, start=decay_weight, base=decay_base, copied=weight_copy
            )

    def begin_epoch(self, rng: torch.Generator) -> None:
        """Draw the edges of this epoch; users take over their weights of the last step."""
        self.propagation.redraw(rng)
        if self.mixture is not None:
            self.mixture.hand_over()

    def contents(self) -> list[Tensor]:
        """Content in each block, the shared one last, `(n_items, dim)`; zero where missing."""
        own = [network(self.features[name]) for name, network in self.networks.items()]
        present = [*self.present, self.present.any(dim=0)]
        return [
            rows * there.unsqueeze(1)
            for rows, there in zip([*own, self._shared_content()], present, strict=True)
        ]

    def _shared_content(self) -> Tensor:
        """The network of the transformed features, whose transform its weight goes through."""
        first, _, second = self.shared_network
        assert isinstance(first, nn.Linear)
        hidden: Tensor = first.bias
        for name, weight in zip(self.networks, first.weight.split(self.widths, dim=1), strict=True):
            of_raw = inverse_cosine_transform(weight) if self.transform == "dct" else weight
            hidden = hidden + linear_table(self.features[name], of_raw)
        return second(leaky_relu(hidden))

    def forward(self) -> Representations:
        """`(n_users, (M + 1) dim)` and `(n_items, (M + 1) dim)`, the shared block last.

        On the pruned graph while training.
        """
        tables = [*self.preferences.values(), self.shared_preferences]
        user = torch.cat([unit_rows(table) for table in tables], dim=1)
        item = torch.cat([unit_rows(table) for table in self.contents()], dim=1)
        user, item = self.propagation(user, item, self.n_layers)
        user, item = (self.n_layers + 1) * user, (self.n_layers + 1) * item
        return Representations(self._mixed(user), item + self._propagate_items(item))

    def _propagate_items(self, item: Tensor) -> Tensor:
        for _ in range(self.n_item_layers):
            item = self.item_graphs(item)
        return item

    def _mixed(self, user: Tensor) -> Tensor:
        """Users with their blocks weighed, `(n_users, (M + 1) dim)`."""
        n_blocks = len(self.preferences) + 1
        if self.mixture is None:
            return user / n_blocks
        blocks = user.unflatten(1, (n_blocks, -1))
        return (self.mixture(blocks).unsqueeze(2) * blocks).flatten(1)

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr` and, unless their weight is 0, `reg_user` and `reg_item` of whole tables."""
        terms = {"bpr": bpr_loss(batch_rows(*representations, batch), eps=0)}
        if self.reg_weight > 0:
            terms["reg_user"] = self.reg_weight * representations.user.square().mean()
            terms["reg_item"] = self.reg_weight * representations.item.square().mean()
        return terms


class Mixture(nn.Module):
    """What the blocks of each user weigh, first by networks, then by weights of their own.

    `softmax(v a + (1 - v) T)` as `LIRDRec` says. The number of epochs begun and what T becomes next
    are frozen parameters, so that they go with checkpoints: a resumed run goes on exactly.

    Args:
        n_users: number of users.
        n_blocks: number of blocks.
        dim: width of a block.
        start: share v of the networks before the first epoch.
        base: `v / (1 - v)` falls to `base**e` of itself as epoch e begins.
        copied: whether T becomes the weights, or the logits that they are the softmax of.
    """

    def __init__(
        self, n_users: int, n_blocks: int, dim: int, *, start: float, base: float, copied: Copied
    ) -> None:
        super().__init__()
        self.start, self.base, self.copied = start, base, copied
        hidden = max(dim // 4, 1)
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, hidden), nn.LeakyReLU(), nn.Linear(hidden, 1))
            for _ in range(n_blocks)
        )
        self.own = xavier_table(n_users, n_blocks, normal=True)
        self.next_own = nn.Parameter(self.own.detach().clone(), requires_grad=False)
        self.epochs_begun = nn.Parameter(torch.zeros(()), requires_grad=False)

    @torch.no_grad()
    def hand_over(self) -> None:
        """T becomes what the last training step left; the share v falls."""
        self.own.copy_(self.next_own)
        self.epochs_begun.add_(1)

    def share(self) -> Tensor:
        """The share v of the networks, a scalar."""
        fallen = self.base ** (self.epochs_begun * (self.epochs_begun + 1) / 2)
        return self.start * fallen / (self.start * fallen + 1 - self.start)

    def forward(self, blocks: Tensor) -> Tensor:
        """Weights `(n_users, n_blocks)` of `blocks` `(n_users, n_blocks, dim)`."""
        heard = [
            network(block) for network, block in zip(self.networks, blocks.unbind(1), strict=True)
        ]
        share = self.share()
        logits = share * widened(torch.cat(heard, dim=1)) + (1 - share) * self.own
        weights = logits.softmax(1)
        if self.training and torch.is_grad_enabled():
            next_own = weights if self.copied == "probabilities" else logits
            self.next_own.data.copy_(next_own.detach())
        return weights


def _network(n_rows: int, width: int, dim: int) -> nn.Sequential:
    """From content of any width to `dim`, through a hidden layer four times as wide."""
    return nn.Sequential(
        TableLinear(n_rows, width, 4 * dim),
        nn.LeakyReLU(),
        TableLinear(n_rows, 4 * dim, dim, bias=False),
    )
