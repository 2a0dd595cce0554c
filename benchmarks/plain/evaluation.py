"""Full ranking by top-k and Python loops over users."""

from __future__ import annotations

import math

from torch import Tensor


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
