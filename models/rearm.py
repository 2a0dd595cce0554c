"""REARM: ids and content over graphs of users and of items, and a low-rank part they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ..graphs.dgl_import import DGLGraph
from ..graphs.interests import mean_content
from ..graphs.neighbor_lists import NeighborLists
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import unit_rows
from ..tensors.ids import Repeated, joined
from ..tensors.representations import Representations
from .base import BACKBONES, Backbone, Batch
from .feature_tables import FeatureTables
from .item_graphs import PREFIX, normalised_weights
from .linear import TableLinear
from .low_rank import LowRank
from .mixed_graphs import Entries, FixedGraph, cooccurrence_lists, cosine_entries
from .modality_pairs import ModalityPairs
from .objectives import batch_rows, bpr_loss
from .scalar_attention import Attention, ContentAttention
from .views import Kept

Share = Annotated[float, Field(ge=0, le=1)]
Pad = Literal["none", "random"]
Weights = Mapping[str, float]


@BACKBONES.register("rearm", paper="Ma et al., REARM, MM 2025")
class REARM(Backbone):
    """Ids and content over graphs of their kind, then over the interactions, and a shared part.

    On either side, `h = [id ; A_m X_m + b_m for each m]` is propagated over `G = c O + (1 - c) M`
    and scaled to length one: O is the softmax of co-occurrence counts, M holds the cosines of the
    features; a user's features are the mean of the items'. Attention among the entries of a row,
    within and then across modalities, refines the content of items. LightGCN's layer mean makes J
    of the ids and F of the content. A low-rank map that F chooses for every node turns J into
    the shared part. Representations are `[prelu(F_m) + J ; prelu(shared) + J]`.

    Beside BPR there are, for each two modalities, InfoNCE from the first F to the second among the
    distinct nodes of the batch, and the squared correlations of their columns. The published
    regulariser is a decoupled weight decay (`training.weight_decay` with
    `training.decoupled_weight_decay`). The published code never draws a held-out item as a
    negative, which `training.negatives: all_splits` repeats; all its figures have this leak.

    An item without a modality has no such content, edges or part in those terms.

    Args:
        graph: heterograph with `interacts`, `cooccurs`, `user_cooccurs`, and for each of
            `features` one `similar_<modality>` and one `interest_<modality>`, where everybody
            should be their own neighbour too.
        features: modality name -> `(n_items, d_m)`.
        dim: width of a part; representations of M modalities are `(M + 1) dim` wide.
        n_layers: layers on the user-item graph.
        n_user_layers: hops over the graph of the users.
        n_item_layers: hops over the graph of the items.
        n_neighbors: co-occurring users in O; the published number for Baby is 40, as for cosines.
        n_item_neighbors: co-occurring items in O.
        user_share: share c of O among the users.
        item_share: share c of O among the items.
        user_weights: weights of the cosines by modality, among the users; equal if not given.
        modality_weights: the same among the items.
        pad: where a node shares something with fewer than so many others, O takes the softmax of
            those there are (`none`), or, as published, repeats some of them at `random`.
        rank: rank of the shared part's map.
        attention: which attention there is; layer norm and PReLU stay in any case.
        self_dropout: share of the weights within a modality set to zero while training.
        cross_dropout: the same across modalities.
        cl_weight: weight of the contrast.
        temperature: of the contrast.
        diff_weight: weight of the squared correlations.
        meta_trainable: train the layer that makes the low-rank map's input of F; the published code
            cuts its gradient, so it stays a random map.
        trainable_features: train copies of the features, of items and users, as the published code
            does; else they stay frozen.
    """

    relations: ClassVar[tuple[str, ...]] = (
        "interacts",
        "similar",
        "interests",
        "cooccurs",
        "user_cooccurs",
    )
    needs_features: ClassVar[bool] = True
    represents_content: ClassVar[bool] = True

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 4,
        n_user_layers: NonNegativeInt = 1,
        n_item_layers: NonNegativeInt = 1,
        n_neighbors: PositiveInt = 40,
        n_item_neighbors: PositiveInt = 10,
        user_share: Share = 0.4,
        item_share: Share = 0.2,
        user_weights: Weights | None = None,
        modality_weights: Weights | None = None,
        pad: Pad = "none",
        rank: PositiveInt = 3,
        attention: Attention = "self+cross",
        self_dropout: Share = 0.4,
        cross_dropout: Share = 0.6,
        cl_weight: NonNegativeFloat = 5e-6,
        temperature: PositiveFloat = 0.6,
        diff_weight: NonNegativeFloat = 5e-5,
        meta_trainable: bool = False,
        trainable_features: bool = True,
    ) -> None:
        super().__init__()
        self.representation_dim = (len(features) + 1) * dim
        self.dim, self.n_layers = dim, n_layers
        self.cl_weight, self.temperature = cl_weight, temperature
        self.diff_weight = diff_weight
        self.propagation = BipartitePropagation.from_graph(graph)
        users, items = graph.edges(etype="interacts", order="eid")
        n_users = graph.num_nodes("user")
        interests = {m: mean_content(users, items, n_users, x) for m, x in features.items()}
        common = SideOptions(dim, pad, rank, meta_trainable, trainable_features)
        self.users = Side(
            cooccurrence_lists(graph, "user", n_neighbors),
            {m: cosine_entries(graph, f"interest_{m}", x) for m, x in interests.items()},
            interests,
            Mix(n_user_layers, user_share, user_weights),
            common,
        )
        self.items = Side(
            cooccurrence_lists(graph, "item", n_item_neighbors),
            {m: cosine_entries(graph, f"{PREFIX}{m}", x) for m, x in features.items()},
            features,
            Mix(n_item_layers, item_share, modality_weights),
            common,
        )
        self.attention = ContentAttention(
            tuple(features), dim, attention, self_dropout, cross_dropout
        )
        self.last: Kept[Representations] = Kept()

    def forward(self) -> Representations:
        """`(n_users, (M + 1) dim)` and `(n_items, (M + 1) dim)`, the shared part last.

        F of this call is kept for the terms of `loss`.
        """
        user_ids, *user_content = self.users()
        item_ids, *item_content = self.items()
        item_content, slope = self.attention(item_content), self.attention.slope
        user, item = self.propagation(
            torch.cat([user_ids, *map(slope, user_content)], dim=1),
            torch.cat([item_ids, *item_content], dim=1),
            self.n_layers,
        )
        self.last.keep(Representations(user[:, self.dim :], item[:, self.dim :]))
        return Representations(
            self._represented(user, self.users), self._represented(item, self.items)
        )

    def _represented(self, rows: Tensor, side: Side) -> Tensor:
        """`[prelu(F_m) + J ; prelu(shared) + J]` of `rows` `[J ; F]`."""
        ids, content = rows[:, : self.dim], rows[:, self.dim :]
        parts = torch.cat([content, side.shared_part(content, ids)], dim=1)
        return self.attention.slope(parts) + ids.repeat(1, self.representation_dim // self.dim)

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, and unless their weight is 0 or there is one modality, `cl_` and `diff_`.

        Each is there for `item` and `user`; they are of the last `forward`.
        """
        terms = {"bpr": bpr_loss(batch_rows(*representations, batch), eps=0)}
        content = self.last.read()
        both = joined(batch.items, batch.negatives)
        for kind, table, side, ids, contrasted in (
            ("item", content.item, self.items, batch.items, both),
            ("user", content.user, self.users, batch.users, batch.users),
        ):
            pairs = ModalityPairs(table, side.present, self.dim)
            if len(pairs) == 0:
                continue
            if self.cl_weight > 0:
                distinct = Repeated.of_batch(contrasted).ids
                terms[f"cl_{kind}"] = self.cl_weight * pairs.contrast(distinct, self.temperature)
            if self.diff_weight > 0:
                terms[f"diff_{kind}"] = self.diff_weight * pairs.squared_correlation(ids)
        return terms


class SideOptions(NamedTuple):
    """What both sides have in common; see `REARM`."""

    dim: int
    pad: Pad
    rank: int
    meta_trainable: bool
    trainable_features: bool


class Mix(NamedTuple):
    """How a side mixes its graphs; see `REARM`."""

    n_layers: int
    share: float
    weights: Weights | None


class Side(nn.Module):
    """Users or items: ids and content over the graph of their kind, and their low-rank map.

    Args:
        lists: the nodes that each node shares most with.
        cosines: modality name -> entries of the graph of content.
        features: modality name -> `(n, d_m)`.
        mix: how the graphs are mixed.
        options: what both sides have in common.
    """

    present: Tensor

    def __init__(
        self,
        lists: NeighborLists,
        cosines: Mapping[str, Entries],
        features: Mapping[str, Tensor],
        mix: Mix,
        options: SideOptions,
    ) -> None:
        super().__init__()
        self.mix, self.dim = mix, options.dim
        n = len(lists.ids)
        present = torch.stack([table.any(dim=1) for table in features.values()], dim=1)
        self.register_buffer("present", present, persistent=False)
        self.embedding = nn.Parameter(0.1 * torch.randn(n, options.dim))
        self.features = FeatureTables(features, trainable=options.trainable_features)
        layers = {m: TableLinear(n, table.shape[1], options.dim) for m, table in features.items()}
        for layer in layers.values():
            nn.init.xavier_normal_(layer.weight)
        self.projectors = nn.ModuleDict(layers)
        self.shared_part = LowRank(
            len(features) * options.dim, options.dim, options.rank, options.meta_trainable
        )
        weights = normalised_weights(mix.weights, tuple(features))
        self.alike = FixedGraph([(weights[m], entries) for m, entries in cosines.items()], n)
        self.use(lists.padded(torch.Generator()) if options.pad == "random" else lists)

    def use(self, lists: NeighborLists) -> None:
        """Take O from these lists."""
        shared = Entries(*lists.shares())
        shared = shared._replace(values=shared.values.to(self.alike.values))
        self.sharing = FixedGraph([(1.0, shared)], len(self.present))

    def graph(self, rows: Tensor) -> Tensor:
        """The product with G, `(n, width)` to the same shape."""
        share = self.mix.share
        return share * self.sharing(rows) + (1 - share) * self.alike(rows)

    def forward(self) -> tuple[Tensor, ...]:
        """Ids and the content of each modality after the graph, `(n, dim)` each."""
        parts: list[Tensor] = [self.embedding]
        for (name, layer), there in zip(
            self.projectors.items(), self.present.unbind(1), strict=True
        ):
            parts.append(layer(self.features[name]) * there.unsqueeze(1))
        rows = torch.cat(parts, dim=1)
        for _ in range(self.mix.n_layers):
            rows = self.graph(rows)
        return unit_rows(rows).split(self.dim, dim=1)
