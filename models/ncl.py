"""NCL: LightGCN that contrasts nodes with structural neighbours and with cluster prototypes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ..graphs.dgl_import import DGLGraph
from ..graphs.propagation import BipartitePropagation
from ..tensors.functional import unit_rows
from ..tensors.ids import Repeated
from ..tensors.kmeans import kmeans, nearest_centroids
from ..tensors.representations import Representations
from ..tensors.tables import xavier_table
from .base import BACKBONES, Backbone, Batch
from .contrast import cosine_contrast, cosine_contrast_of
from .objectives import batch_rows, bpr_loss, norm_regulariser


@BACKBONES.register("ncl", paper="Lin et al., NCL, WWW 2022")
class NCL(Backbone):
    """LightGCN with neighbourhood-enriched contrast: structure and prototypes.

    Structure (eq. 6 to 8): a node's layer `2 * hyper_layers` row is contrasted with the layer 0
    rows of all nodes of its type, its own being the positive. Prototypes (eq. 11 to 14): its layer
    0 row is contrasted with the k-means centroids of its type, fitted anew before each epoch. Both
    are InfoNCE with cosines, summed over the pairs of the batch (so their strength grows with the
    batch size), repeated nodes counting again.

    Args:
        graph: heterograph with the relation `interacts`.
        features: ignored.
        dim: embedding size.
        n_layers: propagation layers of the representations.
        reg_weight: weight of the norm regulariser over the un-propagated batch rows.
        ssl_weight: weight of the structure term.
        alpha: weight of items against users in the structure term; the prototype term has none,
            as in the authors' code.
        temperature: divisor of the cosines.
        hyper_layers: half the layer that the structure term takes its context from.
        proto_weight: weight of the prototype term; large ones are unstable.
        n_clusters: clusters of users and of items, but at most as many as there are nodes.
        warm_up: first epochs that go without the prototype term. The count of epochs is then kept
            in the frozen parameter `epochs_begun`, so that a resumed run goes on counting.
    """

    def __init__(
        self,
        graph: DGLGraph,
        features: Mapping[str, Tensor],
        *,
        dim: PositiveInt = 64,
        n_layers: NonNegativeInt = 3,
        reg_weight: NonNegativeFloat = 1e-4,
        ssl_weight: NonNegativeFloat = 1e-7,
        alpha: NonNegativeFloat = 1.0,
        temperature: PositiveFloat = 0.1,
        hyper_layers: PositiveInt = 1,
        proto_weight: NonNegativeFloat = 8e-8,
        n_clusters: PositiveInt = 1000,
        warm_up: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.representation_dim = dim
        self.n_layers = n_layers
        self.reg_weight = reg_weight
        self.ssl_weight = ssl_weight
        self.alpha = alpha
        self.temperature = temperature
        self.hyper_layers = hyper_layers
        self.proto_weight = proto_weight
        self.n_clusters = n_clusters
        self.warm_up = warm_up
        self.propagation = BipartitePropagation.from_graph(graph)
        self.user_embedding = xavier_table(graph.num_nodes("user"), dim)
        self.item_embedding = xavier_table(graph.num_nodes("item"), dim)
        self.user_prototypes = Prototypes()
        self.item_prototypes = Prototypes()
        if warm_up > 0:
            self.epochs_begun = nn.Parameter(torch.zeros(()), requires_grad=False)

    def begin_epoch(self, rng: torch.Generator) -> None:
        """Fit the prototypes to the un-propagated tables (E-step), after the warm-up."""
        if self.warm_up > 0:
            self.epochs_begun.add_(1)
            if self.epochs_begun <= self.warm_up:
                return
        if self.proto_weight > 0:
            for prototypes, table in (
                (self.user_prototypes, self.user_embedding),
                (self.item_prototypes, self.item_embedding),
            ):
                seed = int(torch.randint(2**31 - 1, (), generator=rng))
                centroids = kmeans(table, self.n_clusters, seed=seed)
                prototypes.set(centroids, nearest_centroids(table, centroids))

    def forward(self) -> Representations:
        """Mean of layers `0 .. n_layers`, `(n_users, dim)` and `(n_items, dim)`."""
        return Representations(
            *self.propagation(self.user_embedding, self.item_embedding, self.n_layers)
        )

    def loss(self, batch: Batch, representations: Representations) -> dict[str, Tensor]:
        """Terms `bpr`, `reg`, and `ssl_*` and `proto_*` of users and items.

        The prototype terms are there once prototypes are.
        """
        ego = batch_rows(self.user_embedding, self.item_embedding, batch)
        terms = {
            "bpr": bpr_loss(batch_rows(*representations, batch)),
            "reg": self.reg_weight * norm_regulariser(ego),
        }
        if self.ssl_weight > 0:
            user, item = self._structure(batch)
            terms["ssl_user"] = self.ssl_weight * user
            terms["ssl_item"] = self.ssl_weight * self.alpha * item
        if self.proto_weight > 0:
            for name, prototypes, rows, ids in (
                ("proto_user", self.user_prototypes, ego.user, batch.users),
                ("proto_item", self.item_prototypes, ego.positive, batch.items),
            ):
                if prototypes.centroids is not None:
                    terms[name] = self.proto_weight * prototypes(rows, ids, self.temperature)
        return terms

    def _structure(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Structure terms of users (eq. 6) and items (eq. 7), summed over the batch."""
        layers = self.propagation.layers(
            self.user_embedding, self.item_embedding, 2 * self.hyper_layers
        )
        (centre_user, centre_item), (user, item) = layers[0], layers[-1]
        users, items = Repeated.of_batch(batch.users), Repeated.of_batch(batch.items)
        return (
            cosine_contrast_of(user, centre_user, users, self.temperature),
            cosine_contrast_of(item, centre_item, items, self.temperature),
        )


class Prototypes(nn.Module):
    """Cluster centroids of the nodes of one type; constants of an epoch, not in checkpoints."""

    centroids: Tensor | None
    """`(k, dim)` unit rows; None until they are set"""
    cluster: Tensor | None
    """`(n_nodes,)` int64, the centroid of each node"""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centroids", None, persistent=False)
        self.register_buffer("cluster", None, persistent=False)

    def set(self, centroids: Tensor, cluster: Tensor) -> None:
        """Use these from now on.

        Args:
            centroids: `(k, dim)` of any length.
            cluster: `(n_nodes,)` int64.
        """
        self.centroids, self.cluster = unit_rows(centroids), cluster

    def forward(self, rows: Tensor, ids: Tensor, temperature: float) -> Tensor:
        """InfoNCE of nodes with their centroids among all (eq. 11), summed.

        Args:
            rows: `(batch, dim)` un-propagated rows of the nodes.
            ids: `(batch,)` int64, the nodes.
            temperature: divisor of the cosines.
        """
        assert self.centroids is not None
        assert self.cluster is not None
        return cosine_contrast(rows, self.centroids, self.cluster[ids], temperature)
