"""Align a recommender of your own: plain matrix factorisation, three lines for alignment.

python examples/align_your_own.py
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from crossalign.align import CROSS
from crossalign.datasets import planted
from crossalign.evaluation import evaluate
from crossalign.graphs import cooccurrence_neighbors
from crossalign.models import Representations

DIM, EPOCHS, BATCH = 64, 15, 1024


def main(epochs: int = EPOCHS, n_users: int = 3000, n_items: int = 2000) -> dict[str, float]:
    """Train with and without alignment; returns test Recall@20 of both."""
    torch.manual_seed(0)
    data = planted(n_users, n_items)
    neighbors = cooccurrence_neighbors(data.train, data.n_users, data.n_items, 5).ids
    result = {}
    for name in ("alone", "aligned"):
        user = nn.Embedding(data.n_users, DIM)
        item = nn.Embedding(data.n_items, DIM)
        nn.init.xavier_uniform_(user.weight)
        nn.init.xavier_uniform_(item.weight)

        widths = {m: table.shape[1] for m, table in data.features.items()}
        align = CROSS(DIM, data.modalities, widths, neighbors=neighbors)
        parameters = [*user.parameters(), *item.parameters(), *align.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=5e-3)

        for _ in range(epochs):
            for batch in torch.randperm(data.train.shape[1]).split(BATCH):
                users, items = data.train[:, batch]
                negatives = torch.randint(data.n_items, items.shape)
                margin = (user(users) * (item(items) - item(negatives))).sum(1)
                loss = -logsigmoid(margin).mean()
                if name == "aligned":
                    loss = loss + align(user.weight, item.weight, data.features, users, items)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        with torch.no_grad():
            metrics = evaluate(Representations(user.weight, item.weight), data, "test")
        result[name] = metrics["recall@20"]
        print(f"{name:8s} test Recall@20 {result[name]:.4f}")
    return result


if __name__ == "__main__":
    main()
