"""MMGCN: a graph network per modality, whose nodes hear their neighbours' mean."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ..errors import unknown_name
from ..graphs.adjacency import Adjacency
from ..graphs.dgl_import import DGLGraph
from ..tensors.functional import unit_rows
from ..tensors.representations import Representations
from ..tensors.tables import Table, xavier_table
from .base import BACKBONES, Backbone, Batch
from .feature_tables import FeatureTables
from .linear import TableLinear
from .objectives import batch_rows, bpr_loss

WIDE = 1024
"""Wider features than this need an input layer: convolutions are square, preferences as wide."""
LATENT_DIM = 256
"""Width that an input layer gives where none is named, as published for images."""

Combine = Literal["concat", "add"]
"""How a node's neighbours and the node itself come together."""

logger = logging.getLogger(__name__)


@BACKBONES.register("mmgcn", paper="Wei et al., MMGCN, MM 2019")
class MMGCN(Backbone):
    """Preferences of users and content of items, each modality over a graph network of its own.

    `x_0 = unit([P_m ; X_m])`, X_m through an input layer first where it is wide; each layer is
    `h = f(mean of the neighbours of x W)`, `s = f(L x) + T` and `x = f(Q [h, s])`, f the leaky ReLU
    and T the ids, which all layers and modalities share. Representations are the mean over the
    modalities of the last layer.

    In the released code T and P are no parameters: they stay at their random start and are not
    saved, and all published numbers are of that kind. Here they are trained, unless
    `trainable_tables` is off. It also regularises the preferences of the first modality alone, and
    ranks with the tables of the last training step; here scores are always of the present
    parameters. An item without a modality begins as zero there and is not heard in the first layer.

    Args:
        graph: heterograph with the relations `interacts` and `interacted_by`.
        features: modality name -> `(n_items, d_m)`, frozen.
        dim: embedding size.
        n_layers: layers of each network.
        latent_dims: modality name -> width of its input layer; others keep the width of their
            features. None is 256 for features of more than 1024, as published for images.
        combine: `concat`, as released; or `add`, `x = f(Q h + s)`, the paper's other form.
        reg_weight: weight of the mean squares of the batch's ids and of all preferences.
        reg_modalities: modalities whose preferences are regularised; all if not given.
        trainable_tables: train T and P.
        aligned_content: what an alignment reads: `none` of the backbone's, so that it projects the
            features itself, or `branches`, the items' last layer of each modality.
    """

    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: PositiveInt = 3,
        latent_dims: Mapping[str, PositiveInt] | None = None,
        combine: Combine = "concat",
        reg_weight: NonNegativeFloat = 1e-5,
        reg_modalities: Sequence[str] | None = None,
        trainable_tables: bool = True,
        aligned_content: Literal["none", "branches"] = "none",
    ) -> None:
        super().__init__()
        for name in (*(latent_dims or {}), *(reg_modalities or ())):
            if name not in features:
                raise unknown_name("modality", name, tuple(features))
        self.representation_dim = dim
        self.n_layers = n_layers
        self.reg_weight = reg_weight
        self.reg_modalities = tuple(features if reg_modalities is None else reg_modalities)
        self.aligned_content = aligned_content
        n_users, n_items = graph.num_nodes("user"), graph.num_nodes("item")
        ids = xavier_table(n_users + n_items, dim, normal=True).detach()
        self.user_embedding = nn.Parameter(ids[:n_users].clone(), trainable_tables)
        self.item_embedding = nn.Parameter(ids[n_users:].clone(), trainable_tables)
        self.features = FeatureTables(features, trainable=False)
        edges = Adjacency.from_graph(graph, "interacted_by", norm="none")
        latent = _latent_dims(features, latent_dims)
        self.branches = nn.ModuleDict(
            {
                name: Branch(
                    NeighborMeans(edges, table), table, dim, n_layers, latent[name], combine
                )
                for name, table in features.items()
            }
        )
        widths = {name: latent[name] or table.shape[1] for name, table in features.items()}
        self.preferences = nn.ParameterDict(
            {name: xavier_table(n_users, width, normal=True) for name, width in widths.items()}
        )
        self.preferences.requires_grad_(trainable_tables)
        if reg_weight > 0 and not trainable_tables:
            logger.warning("reg_weight has no effect on tables that are not trained")
        self.outputs: dict[str, Tensor] = {}

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`.

        The items' tables of this call are kept where an alignment is to read them.
        """
        ids = torch.cat([self.user_embedding, self.item_embedding])
        outputs = {
            name: branch(self.preferences[name], self.features[name], ids)
            for name, branch in self.branches.items()
        }
        sizes = [len(self.user_embedding), len(self.item_embedding)]
        if self.aligned_content == "branches":
            self.outputs = {name: output.split(sizes)[1] for name, output in outputs.items()}
        mean = torch.stack(list(outputs.values())).mean(0)
        return Representations(*mean.split(sizes))

    def __getstate__(self) -> dict[str, Any]:
        """What a forward keeps is not copied or pickled."""
        return {**self.__dict__, "outputs": {}}

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, and unless their weight is 0 `id_reg` and `preference_<modality>`."""
        terms = {"bpr": bpr_loss(batch_rows(*representations, batch), eps=0)}
        if self.reg_weight > 0:
            ids = batch_rows(self.user_embedding, self.item_embedding, batch)
            items = torch.cat([ids.positive, ids.negative])
            squares = ids.user.square().mean() + items.square().mean()
            terms["id_reg"] = self.reg_weight * squares
            for name in self.reg_modalities:
                squares = self.preferences[name].square().mean()
                terms[f"preference_{name}"] = self.reg_weight * squares
        return terms

    def modalities(self) -> Mapping[str, Table]:
        """The items' last layer of each modality, of the last `forward`, if that is to be read."""
        if self.aligned_content == "branches" and not self.outputs:
            with torch.no_grad():
                self()
        return self.outputs


class NeighborMeans(nn.Module):
    """Means over the training neighbours of users and items; nodes without any get zeros.

    Args:
        edges: from items to their users, norm `none`.
        table: `(n_items, d)` features; items whose rows are zero are not heard at first.
    """

    n_items: Tensor
    n_heard: Tensor
    n_users: Tensor

    def __init__(self, edges: Adjacency, table: Tensor) -> None:
        super().__init__()
        self.edges = edges
        heard = table.any(dim=1, keepdim=True).float()
        self.register_buffer("n_items", _numbers(edges(torch.ones_like(heard))), persistent=False)
        self.register_buffer("n_heard", _numbers(edges(heard)), persistent=False)
        ones = heard.new_ones(edges.n_dst, 1)
        self.register_buffer("n_users", _numbers(edges.transposed(ones)), persistent=False)

    def of_users(self, item: Tensor, *, first: bool) -> Tensor:
        """Mean of the rows of a user's items, `(n_users, dim)`; `first` leaves out missing ones."""
        return self.edges(item) / (self.n_heard if first else self.n_items).to(item)

    def of_items(self, user: Tensor) -> Tensor:
        """Mean of the rows of an item's users, `(n_items, dim)`."""
        return self.edges.transposed(user) / self.n_users.to(user)


class Branch(nn.Module):
    """The network of one modality.

    Args:
        means: over the neighbours.
        table: `(n_items, d)` features.
        dim: width of all layers but the first one's input.
        n_layers: layers.
        latent_dim: width of the input layer; None is no such layer.
        combine: how neighbours and the node itself come together.
    """

    present: Tensor

    def __init__(
        self,
        means: NeighborMeans,
        table: Tensor,
        dim: int,
        n_layers: int,
        latent_dim: int | None,
        combine: Combine,
    ) -> None:
        super().__init__()
        n_items, width = table.shape
        self.means = means
        self.register_buffer("present", table.any(dim=1, keepdim=True), persistent=False)
        self.complete = bool(self.present.all())
        self.input = None if latent_dim is None else TableLinear(n_items, width, latent_dim)
        widths = [latent_dim or width, *[dim] * (n_layers - 1)]
        self.layers = nn.ModuleList(Layer(means, width, dim, combine) for width in widths)
        nn.init.xavier_normal_(self.layers[0].get_parameter("mix.weight"))

    def forward(self, preference: Tensor, features: Tensor, ids: Tensor) -> Tensor:
        """Users followed by items after the last layer, `(n_users + n_items, dim)`."""
        content = features if self.input is None else self.input(features)
        item = unit_rows(content)
        if self.input is not None and not self.complete:
            item = item * self.present
        x = torch.cat([unit_rows(preference), item])
        for place, layer in enumerate(self.layers):
            x = layer(x, ids, first=place == 0)
        return x


class Layer(nn.Module):
    """Neighbours and the node itself, `f(Q [f(mean x W), f(L x) + T])` or the sum of both.

    Args:
        means: over the neighbours.
        width: of the rows that come in.
        dim: of those that go out.
        combine: how neighbours and the node itself come together.
    """

    def __init__(self, means: NeighborMeans, width: int, dim: int, combine: Combine) -> None:
        super().__init__()
        self.means = means
        self.adds = combine == "add"
        n_users, n_items = means.edges.n_dst, means.edges.n_src
        n_nodes = n_users + n_items
        self.sizes = [n_users, n_items]
        self.convolution = TableLinear(n_items, width, width, bias=False)
        self.own = TableLinear(n_nodes, width, dim)
        self.mix = TableLinear(n_nodes, width if self.adds else width + dim, dim)
        for layer in (self.convolution, self.own):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, x: Tensor, ids: Tensor, *, first: bool) -> Tensor:
        """`(n_users + n_items, width)` and ids `(n_users + n_items, dim)` to the like of these."""
        user, item = x.split(self.sizes)
        # Mean and product commute: both products are with as many rows as there are items.
        to_user = self.means.of_users(self.convolution(item), first=first)
        to_item = self.convolution(self.means.of_items(user))
        heard = leaky_relu(torch.cat([to_user, to_item]))
        own = leaky_relu(self.own(x)) + ids
        if self.adds:
            return leaky_relu(self.mix(heard) + own)
        return leaky_relu(self.mix(torch.cat([heard, own], dim=1)))


def _numbers(counts: Tensor) -> Tensor:
    """Divisors of sums over so many neighbours, `(n, 1)`; one where there are none."""
    return counts.clamp_min(1)


def _latent_dims(
    features: Mapping[str, Tensor], given: Mapping[str, int] | None
) -> dict[str, int | None]:
    """Width of the input layer of every modality, None for those that have none."""
    widths = {name: table.shape[1] for name, table in features.items()}
    if given is None:
        return {name: LATENT_DIM if width > WIDE else None for name, width in widths.items()}
    for name, width in widths.items():
        if name not in given and width > WIDE:
            logger.warning(
                "modality '%s' has %d features and no input layer: its convolution is a square of "
                "that width and the preferences are as wide; name it in latent_dims",
                name,
                width,
            )
    return {name: given.get(name) for name in widths}
