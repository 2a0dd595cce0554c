"""AlignRec's representations, losses and gradients against plain loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions
from crossalign.models import Batch, Representations
from crossalign.models.alignrec import AlignRec, Views

N_USERS, N_ITEMS, K = 9, 14, 4
LONELY, BLANK = 13, 5  # an item nobody bought, and one without any features
WEIGHTS = {"cl_weight": 0.7, "uia_weight": 0.3, "sim_weight": 0.4, "reg_weight": 0.2}


def dataset(names: str = "ab") -> Dataset:
    pairs = torch.tensor([(u, i) for u in range(N_USERS) for i in range(LONELY) if (u * i) % 3 < 2])
    rng = torch.Generator().manual_seed(1)
    tables = {name: torch.randn(N_ITEMS, d, generator=rng) for name, d in (("a", 6), ("b", 3))}
    for table in tables.values():
        table[BLANK] = 0
    tables["b"][2] = 0  # has the other modality only
    splits = (pairs.T.contiguous(), pairs[:1].T.contiguous(), pairs[:1].T.contiguous())
    return Dataset(
        "toy", N_USERS, N_ITEMS, *splits, features={name: tables[name] for name in names}
    )


@pytest.fixture
def make(build):
    """`make(names, **options)`: a backbone of these modalities, in float64."""

    def make(names: str = "a", **options: object) -> AlignRec:
        chosen = {"dim": 4, **WEIGHTS, **options}
        return build(AlignRec, dataset(names), GraphOptions(knn_k=K), **chosen)

    return make


def batch() -> Batch:
    users = torch.tensor([0, 1, 1, 4, 8, 1, 2])  # user 1, items 3 and 5 and a pair come again
    items = torch.tensor([2, 3, 0, 5, 3, 3, 5])
    return Batch(users, items, torch.tensor([13, 12, 4, 1, 7, 7, 10]))


def unit(row: Tensor) -> Tensor:
    return row / row.norm() if row.any() else row


def content_of(names: str) -> Tensor:
    tables = [dataset().features[name].double() for name in names]
    if len(tables) == 1:
        return tables[0]
    return torch.stack([torch.cat([unit(table[i]) for table in tables]) for i in range(N_ITEMS)])


def item_matrix(table: Tensor, k: int) -> Tensor:
    """`S`, entry by entry."""
    kept = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64)
    present = [i for i in range(N_ITEMS) if table[i].any()]
    for i in present:
        cosine = {j: float(unit(table[i]) @ unit(table[j])) for j in present}
        for j in sorted(present, key=lambda j: (-cosine[j], j))[:k]:
            kept[i, j] = cosine[j]
    scaled = torch.zeros_like(kept)
    for i in present:
        for j in present:
            scaled[i, j] = kept[i, j] / math.sqrt(kept[i].sum() * kept[j].sum())
    return scaled


def user_item_matrix() -> Tensor:
    """Normalised block of users x items."""
    pairs = dataset().train.T.tolist()
    block = torch.zeros(N_USERS, N_ITEMS, dtype=torch.float64)
    for u, i in pairs:
        of_user = sum(other == u for other, _ in pairs)
        of_item = sum(other == i for _, other in pairs)
        block[u, i] = 1 / math.sqrt(of_user * of_item)
    return block


def infonce(anchors: list[Tensor], candidates: list[Tensor], temperature: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for b, anchor in enumerate(anchors):
        logits = [unit(anchor) @ unit(other) / temperature for other in candidates]
        total = total - logits[b] + torch.stack(logits).exp().sum().log()
    return total / len(anchors)


def reference_views(model: AlignRec, names: str, layers: int, item_layers: int) -> Views:
    block, similar = user_item_matrix(), item_matrix(content_of(names), K)
    users, items = [model.user_embedding], [model.item_embedding]
    for _ in range(layers):
        users, items = [*users, block @ items[-1]], [*items, block.T @ users[-1]]
    x = model.features["content"]
    projected = x @ model.projector.weight.T + model.projector.bias
    gate = 1 / (1 + (-(projected @ model.gate.weight.T + model.gate.bias)).exp())
    content = model.item_embedding * gate
    for _ in range(item_layers):
        content = similar @ content
    mean = [torch.stack(side).mean(0) for side in (users, items)]
    return Views(Representations(*mean), Representations(block @ content, content))


def reference_terms(
    views: Views, target: Tensor, *, symmetric: bool, divisor: int
) -> dict[str, Tensor]:
    users, items, negatives = (ids.tolist() for ids in batch())
    n = len(users)
    (id_user, id_item), (content_user, content_item) = views
    h_user, h_item = id_user + content_user, id_item + content_item
    zero = torch.zeros((), dtype=torch.float64)
    bpr, reg, uia, squares = zero, zero, zero, zero
    for u, p, q in zip(users, items, negatives, strict=True):
        gap = h_user[u] @ h_item[p] - h_user[u] @ h_item[q]
        bpr = bpr - (1 / (1 + (-gap).exp())).log() / n
        reg = reg + (h_user[u] @ h_user[u] + h_item[p] @ h_item[p] + h_item[q] @ h_item[q]) / 2
        uia = uia + (1 - unit(h_user[u]) @ unit(h_item[p])) / n
    for p in items:
        for q in items:
            wanted = unit(target[p]) @ unit(target[q])
            squares = squares + (content_item[p] @ content_item[q] - wanted) ** 2
    terms = {
        "bpr": bpr,
        "reg": WEIGHTS["reg_weight"] * reg / divisor,
        "uia": WEIGHTS["uia_weight"] * uia,
        "sim": WEIGHTS["sim_weight"] * squares.sqrt() / n,
    }
    for name, ids, content, own in (
        ("user", users, content_user, id_user),
        ("item", items, content_item, id_item),
    ):
        anchors, candidates = [content[i] for i in ids], [own[i] for i in ids]
        loss = infonce(anchors, candidates, 0.2)
        if symmetric:
            loss = (loss + infonce(candidates, anchors, 0.2)) / 2
        terms[f"cca_{name}"] = WEIGHTS["cl_weight"] * loss
    return terms


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ("a", {}),
        ("ab", {"n_layers": 3, "n_item_layers": 2, "symmetric": True, "reg_batch_size": 32}),
        ("a", {"trainable_features": True}),
        ("a", {"trainable_features": True, "sim_target": "live"}),
        ("ab", {"trainable_features": True, "n_item_layers": 0, "n_layers": 0}),
    ],
)
def test_terms_gradients_and_scores_equal_loops(names: str, options: dict, make) -> None:
    model = make(names, **options)
    if options.get("trainable_features"):
        with torch.no_grad():  # the graph and the frozen target stay those of the given features
            model.features["content"].add_(torch.randn(N_ITEMS, 1, dtype=torch.float64))
    parameters = dict(model.named_parameters())
    found = model.loss(batch(), model())
    got = torch.autograd.grad(sum(found.values()), list(parameters.values()))
    views = reference_views(model, names, model.n_layers, model.n_item_layers)
    live = options.get("sim_target") == "live"
    expected = reference_terms(
        views,
        model.features["content"].detach() if live else content_of(names),
        symmetric=options.get("symmetric", False),
        divisor=options.get("reg_batch_size", len(batch().users)),
    )
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12, msg=name)
    wanted = torch.autograd.grad(sum(expected.values()), list(parameters.values()))
    for name, ours, theirs in zip(parameters, got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, msg=name)
    (id_user, id_item), (content_user, content_item) = views
    model.eval()
    user, item = model()
    scores = (id_user + content_user) @ (id_item + content_item).T
    torch.testing.assert_close(user @ item.T, scores, rtol=1e-10, atol=1e-12)


def test_each_term_alone_has_the_gradient_of_the_loops(make) -> None:
    """No term hides behind another: every one moves what its equation says."""
    model = make("ab")
    parameters = list(model.parameters())
    found = model.loss(batch(), model())
    views = reference_views(model, "ab", 2, 1)
    expected = reference_terms(views, content_of("ab"), symmetric=False, divisor=7)
    for name, value in expected.items():
        ours, theirs = (
            torch.autograd.grad(
                term, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for term in (found[name], value)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, msg=name)


def test_an_open_gate_leaves_smoothed_ids(make) -> None:
    model = make("a", n_item_layers=2)
    with torch.no_grad():
        model.gate.bias.fill_(torch.inf)
    model()
    similar = item_matrix(content_of("a"), K)
    expected = similar @ (similar @ model.item_embedding)
    torch.testing.assert_close(model.last.read().content.item, expected)


def test_rows_of_the_item_graph(make) -> None:
    """At most k entries, the item itself among them; blank items have none; not symmetric."""
    table = content_of("a")
    matrix = make("a").item_graph(torch.eye(N_ITEMS, dtype=torch.float64))
    torch.testing.assert_close(matrix, item_matrix(table, K))
    present = table.any(1)
    assert (matrix.diagonal() > 0).tolist() == present.tolist()
    assert ((matrix != 0).sum(1) == K * present).all()
    assert not matrix[:, BLANK].any()
    assert not torch.equal(matrix != 0, (matrix != 0).T)
