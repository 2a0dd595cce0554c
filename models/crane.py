"""CRANE: recursively attended content, and a behavioural and a semantic graph in contrast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ..errors import ConfigError
from ..graphs.adjacency import NO_EPS, Adjacency
from ..graphs.dgl_import import DGLGraph
from ..tensors.functional import unit_rows
from ..tensors.ids import Repeated
from ..tensors.representations import Representations
from ..tensors.tables import Projected, xavier_table
from .base import BACKBONES, Backbone, Batch
from .contrast import cosine_contrast
from .feature_tables import FeatureTables
from .item_graphs import ItemGraphs, RefinedItemGraph
from .objectives import batch_rows, bpr_loss, half_squared_norm
from .pruning import PrunedPropagation
from .rca import RCA, RecursiveAttention, Scale

ItemInput = Literal["content", "behaviour"]
"""What is propagated over the item graph."""


@BACKBONES.register("crane", paper="CRANE, TOMM 2026 (arXiv 2601.11151)")
class CRANE(Backbone):
    """LightGCN plus content that the modalities refine in each other, for items and users alike.

    Each modality is projected to rows of length one; a user's content is that of the training
    items. Recursive cross-modal attention (`rca.py`) makes `F_i` and `F_u` of them. With LightGCN
    on the ids, `item = i_g + h` and `user = u_g + F_u`, where `h = S^n F_i` is propagated over the
    kNN graph S of F_i itself, built without gradient at the beginning of each epoch and for each
    evaluation. The loss is BPR plus InfoNCE between the two summands of the same node.

    This is built from the paper's abstract and figure, since its released code is another model
    (`crane_released`). They name the parts; these details are decided here: correlations between
    features instead of between items, mean profiles, the pairs of the contrast, the final sums.

    An item whose features are all zero lacks the modality: its content there is zero. An item
    without any modality has no neighbours in S.

    Args:
        graph: heterograph with `interacts`, `interacted_by` and one `similar_<modality>` each.
        features: modality name -> `(n_items, d_m)`.
        dim: embedding size, also of the projected content.
        n_layers: layers on the user-item graph.
        n_item_layers: layers n on the item graph.
        n_recursions: rounds of attention; with 0, F is a linear map of the concatenation.
        tied_rounds: let all rounds share their weights.
        rca: `global` correlates features over the whole table; `token` each row by itself.
        scale: divisor of global correlations, the root of the number of rows (`sqrt_n`) or the
            number with a learned factor (`n`).
        attention_dropout: share of the attended features set to zero while training.
        user_profile: `mean` of the training items, `symmetric` weights `1 / sqrt(d_u d_i)`, or
            `none`, which leaves users their ids alone.
        profile_edges: while training, the profile is that of `all` training items, or of those that
            `dropout` has `kept`. With all of them a user's content holds each item that they are
            ranked for, which what is learned of content may rely on.
        user_attention: correlations of the users' rounds: those of the items (`item`), or of the
            users' own table (`own`). Only `rca="global"` has any to share.
        item_graph: `refined`, or `raw` to keep the kNN graphs of the features for good.
        item_input: what S propagates, and with it what `h` is: F_i (`content`, as in the released
            code), or `i_g` (`behaviour`, as the paper's figure is drawn; F_i then makes the graph
            alone, so attention learns from the users' side, and `user_profile` must not be `none`).
        unit_content: scale the rows of `h` and `F_u` to length one before they are added. Free
            ones may outgrow the ids: on TikTok eightfold, most of it one direction for all items.
        warm_epochs: first epochs that use the raw graphs. The count of epochs is then kept in the
            frozen parameter `item_graph.epochs_begun`, for resumed runs and evaluations.
        n_neighbors: neighbours in the refined graph; `graph.knn_k` is that of the raw ones.
        include_self: whether an item may be its own neighbour in the refined graph;
            `graph.knn_self` is that of the raw ones.
        modality_weights: weights of the raw graphs by modality name; equal if not given.
        dropout: share of user-item edges left out in each training epoch.
        cl_weight: weight of the contrast, the mean over both kinds of nodes and both directions.
        temperature: divisor of its cosines.
        reg_weight: weight of the squared norm of the un-propagated rows of the batch, per pair.
        trainable_features: train copies of the feature tables; else they stay frozen and only the
            projectors learn.

    Raises:
        ConfigError: `item_input` is `behaviour` and `user_profile` is `none`.
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
        n_recursions: NonNegativeInt = 2,
        tied_rounds: bool = True,
        rca: RCA = "global",
        scale: Scale = "sqrt_n",
        attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        user_profile: Literal["mean", "symmetric", "none"] = "mean",
        profile_edges: Literal["all", "kept"] = "all",
        user_attention: Literal["item", "own"] = "item",
        item_graph: Literal["refined", "raw"] = "refined",
        item_input: ItemInput = "content",
        unit_content: bool = False,
        warm_epochs: NonNegativeInt = 1,
        n_neighbors: PositiveInt = 10,
        include_self: bool = True,
        modality_weights: Mapping[str, float] | None = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.8,
        cl_weight: NonNegativeFloat = 1e-2,
        temperature: PositiveFloat = 0.2,
        reg_weight: NonNegativeFloat = 1e-4,
        trainable_features: bool = False,
    ) -> None:
        super().__init__()
        if item_input == "behaviour" and user_profile == "none":
            raise ConfigError(
                "item_input 'behaviour' with user_profile 'none' leaves content out of every "
                "representation: set user_profile to mean or symmetric, or item_input to content"
            )
        self.representation_dim = dim
        self.n_layers = n_layers
        self.n_item_layers = n_item_layers
        self.attention_dropout = attention_dropout
        self.item_input = item_input
        self.unit_content = unit_content
        self.shares_correlations = rca == "global" and user_attention == "item"
        self.cl_weight = cl_weight
        self.temperature = temperature
        self.reg_weight = reg_weight
        n_users, n_items = graph.num_nodes("user"), graph.num_nodes("item")
        self.user_embedding = xavier_table(n_users, dim)
        self.item_embedding = xavier_table(n_items, dim)
        self.features = FeatureTables(features, trainable=trainable_features)
        self.projectors = nn.ModuleDict(
            {name: nn.Linear(table.shape[1], dim) for name, table in features.items()}
        )
        present = torch.stack([table.any(dim=1) for table in features.values()])
        self.register_buffer("present", present, persistent=False)
        self.attention = RecursiveAttention(
            len(features),
            dim,
            n_recursions=n_recursions,
            tied=tied_rounds,
            rca=rca,
            scale=scale,
            n_rows=n_items,
        )
        self.propagation = PrunedPropagation(graph, dropout)
        self.user_profile, self.profile_edges = user_profile, profile_edges
        self.profile = self._profile()
        self.epoch_profile = self.profile
        self.item_graph = RefinedItemGraph(
            ItemGraphs(graph, modality_weights),
            ~present.any(dim=0),
            refine=item_graph == "refined",
            warm_epochs=warm_epochs,
            n_neighbors=n_neighbors,
            include_self=include_self,
        )

    @torch.no_grad()
    def begin_epoch(self, rng: torch.Generator) -> None:
        """Draw the user-item edges, and build the item graph, of this epoch."""
        self.propagation.redraw(rng)
        if self.profile_edges == "kept":
            self.epoch_profile = self._profile()
        self.item_graph.begin_epoch(self.attention(self.contents()).content)

    def contents(self) -> list[Tensor]:
        """Projected content of each modality, `(n_items, dim)`: unit rows, zero where missing."""
        return [
            unit_rows(projector(self.features[name])) * present.unsqueeze(1)
            for (name, projector), present in zip(
                self.projectors.items(), self.present, strict=True
            )
        ]

    def profiles(self, contents: list[Tensor]) -> list[Tensor] | None:
        """Content of the users in each modality, `(n_users, dim)`; None without profiles."""
        profile = self.epoch_profile if self.training else self.profile
        if profile is None:
            return None
        return list(profile(torch.cat(contents, dim=1)).split(self.representation_dim, dim=1))

    def _profile(self) -> Adjacency | None:
        """From items to the users who have them, by the edges that are kept now."""
        if self.user_profile == "none":
            return None
        users, items = self.propagation.kept
        n_users, n_items = self.propagation.n_nodes
        norm: Literal["row", "both"] = "row" if self.user_profile == "mean" else "both"
        profile = Adjacency.from_edges(items, users, n_items, n_users, norm=norm, eps=NO_EPS)
        return profile.to(self.user_embedding.device)

    def forward(self) -> Representations:
        """`(n_users, dim)` and `(n_items, dim)`, on the pruned graph while training."""
        user, item = self.propagation(self.user_embedding, self.item_embedding, self.n_layers)
        p = self.attention_dropout if self.training else 0.0
        contents = self.contents()
        attended = self.attention(contents, dropout=p)
        given = attended.content if self.item_input == "content" else item
        semantic = self.item_graph(attended.content, given, self.n_item_layers)
        scaled = unit_rows if self.unit_content else nn.Identity()
        profiles = self.profiles(contents)
        if profiles is not None:
            shared = attended.correlations if self.shares_correlations else None
            user = user + scaled(self.attention(profiles, correlations=shared, dropout=p).content)
        return Representations(user, item + scaled(semantic))

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, and unless their weights are 0 `cl_item`, `cl_user` and `reg`."""
        terms = {"bpr": bpr_loss(batch_rows(*representations, batch), eps=0)}
        if self.cl_weight > 0:
            terms |= self._contrast(batch, representations)
        if self.reg_weight > 0:
            ego = batch_rows(self.user_embedding, self.item_embedding, batch)
            terms["reg"] = 2 * self.reg_weight * half_squared_norm(ego) / len(batch.users)
        return terms

    def _contrast(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """InfoNCE between the two summands of the distinct users and positive items."""
        graph_user, graph_item = self.propagation(
            self.user_embedding, self.item_embedding, self.n_layers
        )
        views = {"cl_item": (batch.items, representations.item, graph_item)}
        if self.profile is not None:
            views["cl_user"] = (batch.users, representations.user, graph_user)
        terms = {}
        for name, (ids, total, behaviour) in views.items():
            ids = Repeated.of_batch(ids).ids
            behaviour = behaviour.index_select(0, ids)
            # The content is what a representation holds beyond its propagated id.
            content = total.index_select(0, ids) - behaviour
            order = torch.arange(len(ids), device=ids.device)
            forth = cosine_contrast(behaviour, content, order, self.temperature)
            back = cosine_contrast(content, behaviour, order, self.temperature)
            terms[name] = self.cl_weight * (forth + back) / (2 * len(ids) * len(views))
        return terms

    def modalities(self) -> Mapping[str, Projected]:
        """Content through this backbone's own projectors, before it is scaled and refined."""
        return self.features.through(self.projectors)
