"""FREEDOM with CROSS: the backbone and the three levels in one step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .cluster_level import cluster_level
from .freedom import FREEDOM
from .item_level import item_level
from .neighbor_level import neighbor_level


class Cross(nn.Module):
    """The three losses on a backbone's tables, `id` being its items."""

    def __init__(
        self,
        names: list[str],
        neighbors: Tensor,
        *,
        dim: int = 64,
        n_prototypes: int = 10240,
        ila_weight: float = 0.01,
        cla_weight: float = 0.001,
        cna_weight: float = 0.01,
        ila_temperature: float = 0.1,
        cla_temperature: float = 0.2,
        cna_temperature: float = 0.2,
    ) -> None:
        super().__init__()
        views = ["id", *names]
        self.neighbors, self.cna_temperature = neighbors, cna_temperature
        self.ila_weight, self.cla_weight, self.cna_weight = ila_weight, cla_weight, cna_weight
        self.maps = nn.ParameterDict(
            {f"{a}_to_{b}": matrix(dim, dim) for a in views for b in views if a != b}
        )
        self.codebook, self.modality_codebook = matrix(n_prototypes, dim), matrix(n_prototypes, dim)
        self.ila_temperature = nn.Parameter(torch.tensor(ila_temperature))
        self.cla_temperature = nn.Parameter(torch.tensor(cla_temperature))

    def forward(
        self, user: Tensor, tables: dict[str, Tensor], users: Tensor, items: Tensor
    ) -> Tensor:
        with torch.no_grad():
            for codebook in (self.codebook, self.modality_codebook):
                codebook.copy_(normalize(codebook))
        views = list(tables.values())
        codebooks = (self.codebook, self.modality_codebook)
        temperature = self.ila_temperature
        item = item_level(user, tables, self.maps, temperature, users, items, dynamic=True)
        cluster = cluster_level(user, views, *codebooks, self.cla_temperature, users, items)
        neighbor = neighbor_level(views, self.neighbors, self.cna_temperature, items)
        weighted = self.ila_weight * item + self.cla_weight * cluster
        return weighted + self.cna_weight * neighbor


class Aligned(nn.Module):
    """A backbone that gives tables, trained with `Cross` on top."""

    def __init__(self, backbone: FREEDOM, cross: Cross) -> None:
        super().__init__()
        self.backbone, self.cross = backbone, cross

    def begin_epoch(self) -> None:
        self.backbone.begin_epoch()

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        tables = self.backbone.tables()
        user, item, content = tables
        loss = self.backbone.ranking(tables, users, items, negatives)
        return loss + self.cross(user, {"id": item, **content}, users, items)


def matrix(n: int, dim: int) -> nn.Parameter:
    """A trained `(n, dim)` matrix, Xavier-uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(n, dim)))
