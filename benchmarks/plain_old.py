"""Plain formulations that the benchmarks compare with: what common research code does.

Adjacency as one torch COO matrix multiplied under autograd, negatives drawn in a Python loop with
rejection against a set, evaluation by top-k with Python loops over users.
"""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


class PlainLightGCN(nn.Module):
    """LightGCN on a square COO adjacency of users and items."""

    def __init__(self, pairs: Tensor, n_users: int, n_items: int, dim: int, n_layers: int) -> None:
        super().__init__()
        self.n_users, self.n_layers = n_users, n_layers
        self.user = nn.Embedding(n_users, dim)
        self.item = nn.Embedding(n_items, dim)
        nn.init.xavier_uniform_(self.user.weight)
        nn.init.xavier_uniform_(self.item.weight)
        users, items = pairs
        rows = torch.cat([users, items + n_users])
        cols = torch.cat([items + n_users, users])
        scale = (torch.bincount(rows, minlength=n_users + n_items) + 1e-7) ** -0.5
        size = (n_users + n_items, n_users + n_items)
        values = scale[rows] * scale[cols]
        index = torch.stack([rows, cols])
        adjacency = torch.sparse_coo_tensor(index, values, size, check_invariants=True)
        self.adjacency = adjacency.coalesce()

    def forward(self) -> tuple[Tensor, Tensor]:
        layer = torch.cat([self.user.weight, self.item.weight])
        layers = [layer]
        for _ in range(self.n_layers):
            layer = torch.sparse.mm(self.adjacency, layer)
            layers.append(layer)
        mean = torch.stack(layers, dim=1).mean(dim=1)
        return mean[: self.n_users], mean[self.n_users :]


def sample_negatives(users: list[int], seen: dict[int, set[int]], candidates: list[int]) -> Tensor:
    """One negative per pair, drawn again while it is among the user's training items."""
    negatives = []
    for user in users:
        item = random.choice(candidates)
        while item in seen[user]:
            item = random.choice(candidates)
        negatives.append(item)
    return torch.tensor(negatives)


def train_epoch(
    model: PlainLightGCN, optimizer: torch.optim.Optimizer, pairs: Tensor, batch_size: int
) -> None:
    """One epoch of BPR with the norm regulariser."""
    seen: dict[int, set[int]] = {}
    for user, item in pairs.T.tolist():
        seen.setdefault(user, set()).add(item)
    candidates = sorted(set(pairs[1].tolist()))
    for batch in torch.randperm(pairs.shape[1]).split(batch_size):
        users, items = pairs[:, batch]
        negatives = sample_negatives(users.tolist(), seen, candidates)
        optimizer.zero_grad()
        user_table, item_table = model()
        user = user_table[users]
        positive = (user * item_table[items]).sum(1)
        negative = (user * item_table[negatives]).sum(1)
        rows = (model.user.weight[users], model.item.weight[items], model.item.weight[negatives])
        reg = torch.stack([torch.norm(matrix) for matrix in rows]).sum() / len(users)
        loss = -logsigmoid(positive - negative).mean() + 1e-4 * reg
        loss.backward()
        optimizer.step()


def evaluate(
    user: Tensor, item: Tensor, train: Tensor, held_out: Tensor, ks: tuple[int, ...]
) -> dict[str, float]:
    """Recall and NDCG of full ranking, user by user."""
    seen: dict[int, list[int]] = {}
    for u, i in train.T.tolist():
        seen.setdefault(u, []).append(i)
    relevant: dict[int, set[int]] = {}
    for u, i in held_out.T.tolist():
        relevant.setdefault(u, set()).add(i)
    totals = {f"{name}@{k}": 0.0 for name in ("recall", "ndcg") for k in ks}
    users = sorted(relevant)
    for start in range(0, len(users), 4096):
        block = users[start : start + 4096]
        scores = user[block] @ item.T
        for row, u in enumerate(block):
            scores[row, seen.get(u, [])] = -1e10
        top = scores.topk(max(ks), dim=1).indices.tolist()
        for u, ranked in zip(block, top, strict=True):
            for k in ks:
                hits = [position for position, i in enumerate(ranked[:k]) if i in relevant[u]]
                ideal = sum(1 / math.log2(p + 2) for p in range(min(k, len(relevant[u]))))
                totals[f"recall@{k}"] += len(hits) / len(relevant[u])
                totals[f"ndcg@{k}"] += sum(1 / math.log2(p + 2) for p in hits) / ideal
    return {name: total / len(users) for name, total in totals.items()}
