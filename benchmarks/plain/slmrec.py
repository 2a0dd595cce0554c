"""SLMRec."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from .graph import layer_mean, symmetric_adjacency


class SLMRec(nn.Module):
    """A propagation for ids and for each of two modalities; dense cross-entropies."""

    def __init__(
        self,
        pairs: Tensor,
        n_users: int,
        n_items: int,
        features: Mapping[str, Tensor],
        *,
        dim: int = 64,
        n_layers: int = 3,
        temperature: float = 0.2,
        reg_weight: float = 0.01,
        ssl_temperature: float = 0.2,
    ) -> None:
        super().__init__()
        first, second = features
        self.sizes, self.n_layers = (n_users, n_items), n_layers
        self.temperature, self.ssl_temperature = temperature, ssl_temperature
        self.reg_weight = reg_weight
        self.features = {m: normalize(x) for m, x in features.items()}
        self.user_embedding = nn.Parameter(torch.empty(n_users, dim))
        self.item_embedding = nn.Parameter(torch.empty(n_items, dim))
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)
        self.projectors = nn.ModuleDict(
            {m: nn.Linear(x.shape[1], dim) for m, x in features.items()}
        )
        self.user_fusion, self.item_fusion = nn.Linear(3 * dim, dim), nn.Linear(3 * dim, dim)
        steps = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, dim // 2)])
        heads = nn.ModuleDict({first: nn.Linear(dim, dim), second: nn.Linear(dim, dim // 2)})
        self.chain = nn.ModuleDict({"item": nn.Linear(dim, dim), "steps": steps, "heads": heads})
        self.adjacency = symmetric_adjacency(pairs, n_users, n_items, eps=1e-8)

    def forward(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        content = [self.projectors[m](x) for m, x in self.features.items()]
        views = [self.propagate(table) for table in (self.item_embedding, *content)]
        user = self.user_fusion(torch.cat([view[0] for view in views], dim=1))
        item = self.item_fusion(torch.cat([view[1] for view in views], dim=1))
        main = in_batch(normalize(user[users]), normalize(item[items]), self.temperature)
        return main + self.reg_weight * self.chained(*(view[1][items] for view in views))

    def propagate(self, item: Tensor) -> tuple[Tensor, ...]:
        """Users and items, the users starting from the same table each time."""
        table = torch.cat([self.user_embedding, item])
        return layer_mean(self.adjacency, table, self.n_layers).split(self.sizes)

    def chained(self, ids: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """From fine to coarse: ids with the first modality, then with the second."""
        fine = self.chain["item"](ids)
        coarse = self.chain["steps"][1](self.chain["steps"][0](fine))
        head, coarse_head = self.chain["heads"].values()
        loss = in_batch(fine, head(first), self.ssl_temperature)
        return loss + in_batch(coarse, coarse_head(second), self.ssl_temperature)


def in_batch(rows: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each row's partner among those of the batch."""
    return cross_entropy(rows @ others.T / temperature, torch.arange(len(rows)))
