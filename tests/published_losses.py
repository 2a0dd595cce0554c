"""The losses in the form the papers' code has: whole matrices, autograd, nothing shared.

Written from the formulas, independent of the package, for comparison of values and of time.
"""

import torch
from torch.nn.functional import cross_entropy, log_softmax, normalize


def item_scores(user, table, users, items):
    """Mean cosine of each distinct item's users with one of its modalities."""
    distinct, inverse, counts = items.unique(return_inverse=True, return_counts=True)
    pair = (normalize(user)[users] * normalize(table)[items]).sum(1)
    total = torch.zeros(len(distinct), dtype=user.dtype)
    return total.index_add(0, inverse, pair / counts[inverse])


def ila_dt(user, tables, maps, temperature, users, items, leaky_bi):
    """`(ILA, DT)`; `tables` by modality name, `maps[source, target]` are weights."""
    distinct, inverse, counts = items.unique(return_inverse=True, return_counts=True)
    n, n_directions = len(distinct), len(tables) * (len(tables) - 1)
    unit_user = normalize(user).detach()
    rows = {m: normalize(table)[distinct] for m, table in tables.items()}
    ila = dt = torch.zeros((), dtype=user.dtype)
    with torch.no_grad():
        scores = {m: item_scores(user, table, users, items) for m, table in tables.items()}
    for (source, target), weight in maps.items():
        aim = scores[target]
        if leaky_bi and n > 1:
            aim = aim + aim.var() * (torch.exp(1 - aim) - 1)
        mask = aim > scores[source]
        if not mask.any():
            continue
        moved = normalize(rows[source] @ weight.T + rows[source])
        logits = moved @ rows[target].detach().T / temperature
        ila = ila + cross_entropy(logits[mask], torch.arange(n)[mask], reduction="sum") / n
        pair = (unit_user[users] * moved[inverse]).sum(1) / counts[inverse]
        reached = torch.zeros(n, dtype=user.dtype).index_add(0, inverse, pair)
        dt = dt - (reached - scores[source])[mask].mean() / n_directions
    return ila, dt


@torch.no_grad()
def codes(scores, epsilon=0.05, rounds=3):
    """Sinkhorn codes by explicit normalisation of the `(K, n)` matrix."""
    q = torch.exp(scores / epsilon).T
    k, n = q.shape
    q = q / q.sum()
    for _ in range(rounds):
        q = q / q.sum(1, keepdim=True) / k
        q = q / q.sum(0, keepdim=True) / n
    return (q * n).T


def cla(user, tables, prototypes_ui, prototypes_m, temperature, users, items):
    """`(L_UI / 2, L_ITV / (|M| (|M| - 1)))` over the pairs, repeats included."""

    def swapped(a, b):
        return -(codes(a.detach()) * log_softmax(b / temperature, 1)).sum(1).mean()

    unit_user = normalize(user[users])
    rows = [normalize(table[items]) for table in tables.values()]
    z_u, z_i = unit_user @ prototypes_ui.T, rows[0] @ prototypes_ui.T
    user_item = swapped(z_u, z_i) + swapped(z_i, z_u)
    z = [x @ prototypes_m.T for x in rows]
    target = [codes(x.detach()) for x in z]
    log_p = [log_softmax(x / temperature, 1) for x in z]
    pairs = [(a, b) for a in range(len(z)) for b in range(len(z)) if a != b]
    modalities = sum(-(target[a] * log_p[b]).sum(1).mean() for a, b in pairs)
    return user_item / 2, modalities / len(pairs)


def cna(tables, neighbors, attention, temperature, items):
    """`(contrast, regulariser)` over distinct items."""
    distinct = items.unique()
    contrast = reg = 0
    for table in tables.values():
        unit = normalize(table)
        mean = (unit[neighbors[distinct]] * attention[:, None]).sum(1)
        logits = unit[distinct] @ normalize(mean).T / temperature
        contrast = contrast + cross_entropy(logits, torch.arange(len(distinct)))
        reg = reg + mean.square().sum() / 2
    return contrast / len(tables), reg
