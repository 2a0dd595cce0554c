"""NCL."""

from __future__ import annotations

import faiss
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .graph import symmetric_adjacency
from .losses import norms, ranking_loss


class NCL(nn.Module):
    """Logits of a batch against all nodes under autograd; k-means before each epoch."""

    def __init__(
        self,
        pairs: Tensor,
        n_users: int,
        n_items: int,
        *,
        dim: int = 64,
        n_layers: int = 3,
        reg_weight: float = 1e-4,
        ssl_weight: float = 1e-7,
        temperature: float = 0.1,
        proto_weight: float = 8e-8,
        n_clusters: int = 1000,
    ) -> None:
        super().__init__()
        self.sizes, self.n_layers, self.n_clusters = (n_users, n_items), n_layers, n_clusters
        self.reg_weight, self.ssl_weight = reg_weight, ssl_weight
        self.proto_weight, self.temperature = proto_weight, temperature
        self.user_embedding = nn.Parameter(torch.empty(n_users, dim))
        self.item_embedding = nn.Parameter(torch.empty(n_items, dim))
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)
        self.adjacency = symmetric_adjacency(pairs, n_users, n_items)
        self.clusters: tuple[tuple[Tensor, Tensor], ...] = ()

    def begin_epoch(self) -> None:
        """Centroids of users and of items."""
        tables = (self.user_embedding, self.item_embedding)
        self.clusters = tuple(kmeans(table.detach(), self.n_clusters) for table in tables)

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        layers = [torch.cat([self.user_embedding, self.item_embedding])]
        for _ in range(max(self.n_layers, 2)):
            layers.append(torch.sparse.mm(self.adjacency, layers[-1]))
        table = torch.stack(layers[: self.n_layers + 1], dim=1).mean(dim=1)
        user, item = table.split(self.sizes)
        ego = self.user_embedding[users], self.item_embedding[items]
        loss = ranking_loss(user[users], item[items], item[negatives], eps=1e-10)
        loss = loss + self.reg_weight * norms(*ego, self.item_embedding[negatives])
        context = layers[2].split(self.sizes)
        tables, ids = (self.user_embedding, self.item_embedding), (users, items)
        for side in range(2):
            rows = context[side][ids[side]]
            structure = self.contrast(rows, tables[side], ids[side])
            centroids, cluster = self.clusters[side]
            prototypes = self.contrast(ego[side], centroids, cluster[ids[side]])
            loss = loss + self.ssl_weight * structure + self.proto_weight * prototypes
        return loss

    def contrast(self, rows: Tensor, candidates: Tensor, positives: Tensor) -> Tensor:
        """InfoNCE with cosines against all candidates, summed over the rows."""
        rows, candidates = normalize(rows), normalize(candidates)
        positive = ((rows * candidates[positives]).sum(1) / self.temperature).exp()
        total = (rows @ candidates.T / self.temperature).exp().sum(1)
        return -torch.log(positive / total).sum()


def kmeans(table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Centroids, and the nearest one of each row."""
    rows = table.float().numpy()
    fit = faiss.Kmeans(rows.shape[1], min(k, len(rows)), seed=0, min_points_per_centroid=1)
    fit.train(rows)
    _, cluster = fit.index.search(rows, 1)
    return torch.from_numpy(fit.centroids).to(table), torch.from_numpy(cluster[:, 0])
