"""LGMRec with any number of modalities and with missing rows, against plain dense formulas."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from crossalign.datasets import Dataset
from crossalign.models import Batch, Representations
from crossalign.models.lgmrec import LGMRec

NAMES = ("audio", "text", "image")
OPTIONS = {"dim": 8, "n_layers": 3, "n_content_layers": 1, "n_hyper_layers": 2, "n_hyperedges": 5}


def with_missing_audio(data: Dataset, users: Tensor) -> Dataset:
    """Every ninth item, and all items of some users, lack audio."""
    missing = torch.arange(data.n_items) % 9 == 0
    missing[data.train[1][torch.isin(data.train[0], users)]] = True
    audio = data.features["audio"].masked_fill(missing[:, None], 0)
    return replace(data, features={**data.features, "audio": audio}, missing={"audio": missing})


def dense(backbone: LGMRec, data: Dataset, batch: Batch, temperature: float) -> dict[str, Tensor]:
    """Representations, and the contrasts by loops over the batch."""
    n_users, n_items = data.n_users, data.n_items
    a = torch.zeros(n_users, n_items, dtype=torch.float64)
    a[tuple(data.train)] = 1
    square = torch.zeros(2 * (n_users + n_items,), dtype=torch.float64)
    scale = [(a.sum(dim) + 1e-7).rsqrt() for dim in (1, 0)]
    square[:n_users, n_users:] = scale[0][:, None] * a * scale[1]
    square = square + square.T
    ego = torch.cat([backbone.user_embedding, backbone.item_embedding])
    layers = [ego]
    for _ in range(backbone.n_layers):
        layers.append(square @ layers[-1])
    ids = torch.stack(layers).mean(0)
    local, views, there = 0, [], []
    for name in NAMES:
        x = data.features[name].double()
        has = ~data.missing.get(name, torch.zeros(n_items, dtype=torch.bool))
        item = x @ backbone.projectors[name].weight.T
        user = (a @ item) / ((a * has).sum(1) + 1e-7)[:, None]
        nodes = torch.cat([user, item])
        for _ in range(backbone.n_content_layers):
            nodes = square @ nodes
        local = local + normalize(nodes)
        logits = x @ backbone.hyperedges[name].weight.T
        of_item = (logits / temperature).softmax(1) * has[:, None]
        hears = ((a * has).sum(1) > 0) | (a.sum(1) == 0)
        of_user = ((a @ logits) / temperature).softmax(1) * hears[:, None]
        z = ids[n_users:]
        for _ in range(backbone.n_hyper_layers):
            user_view, z = of_user @ (of_item.T @ z), of_item @ (of_item.T @ z)
        views.append((user_view, z))
        there.append((hears, has))
    shared = [torch.cat(view) for view in views]
    result = {"table": ids + local + backbone.alpha * normalize(torch.stack(shared).sum(0))}
    for side, rows in enumerate((batch.users, batch.items)):
        pairs = []
        for x, y in combinations(range(len(NAMES)), 2):
            total = torch.zeros((), dtype=torch.float64)
            for row in rows.tolist():
                if there[x][side][row] and there[y][side][row]:
                    every = normalize(views[y][side])[there[y][side]]
                    own = normalize(views[x][side][row], dim=0)
                    mass = (every @ own / temperature).exp().sum()
                    total = total - own @ normalize(views[y][side][row], dim=0) / temperature
                    total = total + mass.log()
            pairs.append(total)
        result[("hcl_user", "hcl_item")[side]] = torch.stack(pairs).mean()
    return result


def test_missing_rows_and_three_modalities_equal_dense_formulas(golden_data, build, golden) -> None:
    data = with_missing_audio(golden_data(*NAMES), torch.tensor([13, 20]))
    options = {"alpha": 0.7, "temperature": 0.6, "noise": "none", "dropout": 0.0}
    backbone = build(LGMRec, data, cl_weight=0.5, **OPTIONS, **options)
    batch = golden("lattice").batch
    expected = dense(backbone, data, batch, 0.6)
    user, item = backbone()
    terms = backbone.loss(batch, Representations(user, item))
    found = {"table": torch.cat([user, item]), "hcl_user": terms["hcl_user"] / 0.5}
    found["hcl_item"] = terms["hcl_item"] / 0.5
    weights = torch.randn_like(found["table"])
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)
        ours, theirs = (
            torch.autograd.grad(
                (x * weights).sum() if x.ndim else x,
                list(backbone.parameters()),
                retain_graph=True,
                materialize_grads=True,
            )
            for x in (value, expected[name])
        )
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


def test_evaluations_are_equal_and_noise_is_only_drawn_where_it_is_asked_for(
    golden_data, build
) -> None:
    data = golden_data("image", "text")
    with torch.no_grad():
        quiet, noisy = (
            build(LGMRec, data, dim=8, eval_noise=noise).eval() for noise in (False, True)
        )
        first, again = quiet(), quiet()
        loud, louder = noisy(), noisy()
        training = [quiet.train()().item for _ in range(2)]
    assert torch.equal(first.item, again.item)
    assert torch.equal(loud.item, louder.item)
    assert not torch.allclose(first.item, loud.item)
    assert not torch.allclose(*training)


@pytest.mark.parametrize(("noise", "variance"), [("gumbel", 1 / 6), ("logistic", 1 / 3)])
def test_the_noise_has_the_spread_of_its_distribution(
    noise: str, variance: float, golden_data, build
) -> None:
    backbone = build(LGMRec, golden_data("image", "text"), dim=8, noise=noise)
    drawn = backbone.drawn(torch.zeros(100_000, dtype=torch.float64))
    assert float(drawn.var()) == pytest.approx(variance * torch.pi**2, rel=0.03)


def test_one_modality_without_hypergraph_is_lightgcn_plus_unit_content(golden_data, build) -> None:
    data = golden_data("text")
    backbone = build(LGMRec, data, dim=8, alpha=0.0, noise="none", dropout=0.0)
    user, item = backbone()
    layers = backbone.propagation(backbone.user_embedding, backbone.item_embedding, 2)
    lengths = (torch.cat([user, item]) - torch.cat(layers)).norm(dim=1)
    ones = torch.ones_like(lengths)
    ones[data.n_users + 7] = 0  # nobody has item 7
    torch.testing.assert_close(lengths, ones)
    pairs = Batch(*data.train[:, :5], data.train[1, :5])
    assert set(backbone.loss(pairs, Representations(user, item))) == {"bpr", "reg"}


def test_a_mean_contrast_does_not_grow_with_the_batch(golden_data, build) -> None:
    data = golden_data("image", "text")
    ways = [
        build(LGMRec, data, dim=8, noise="none", contrast_reduction=way) for way in ("sum", "mean")
    ]
    batch = Batch(*data.train[:, :28], data.train[1, :28])
    summed, mean = (backbone.eval().loss(batch, backbone()) for backbone in ways)
    torch.testing.assert_close(summed["hcl_item"] / 28, mean["hcl_item"])
