"""SMORE with any number of modalities and with missing rows, against plain dense formulas."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import GraphOptions
from crossalign.models.smore import SMORE, spectrum

NAMES = ("audio", "text", "image")


def with_missing_rows(data: Dataset) -> Dataset:
    """Every ninth item lacks audio, and one item lacks everything."""
    items = torch.arange(data.n_items)
    missing = {"audio": items % 9 == 0, "text": items == 9, "image": items == 9}
    features = {m: data.features[m].masked_fill(missing[m][:, None], 0) for m in NAMES}
    return replace(data, features=features, missing=missing)


def cosine_graph(table: Tensor, k: int) -> Tensor:
    """Cosines of the nearest items over the roots of the row sums, dense."""
    unit = table / table.norm(dim=1, keepdim=True).clamp_min(1e-12)
    there = table.any(1)
    cosine = (unit @ unit.T).masked_fill(~(there[:, None] & there[None, :]), -2)
    kept = torch.zeros_like(cosine).scatter_(1, cosine.topk(k).indices, 1)
    cosine = cosine * kept * (cosine > -2)
    sums = cosine.sum(1)
    scale = torch.where(sums > 0, sums, torch.inf).rsqrt()
    return scale[:, None] * cosine * scale


def filtered(signal: Tensor, weight: Tensor, dim: int) -> Tensor:
    """The inverse transform of `weight * signal` as explicit sums of cosines and sines."""
    value = signal * torch.complex(weight[0, :, 0], weight[0, :, 1])
    times = torch.arange(dim, dtype=torch.float64)
    total = torch.zeros(len(signal), dim, dtype=torch.float64)
    for k in range(dim // 2 + 1):
        both = 1 if k == 0 or 2 * k == dim else 2
        angle = 2 * torch.pi * k * times / dim
        part = value[:, k : k + 1]
        total = total + both * (part.real * angle.cos() - part.imag * angle.sin()) / dim**0.5
    return total


def dense(backbone: SMORE, data: Dataset, kept: dict[str, int]) -> Tensor:
    dim, n_users = backbone.representation_dim, data.n_users
    a = torch.zeros(n_users, data.n_items, dtype=torch.float64)
    a[tuple(data.train)] = 1
    a = a.sum(1).clamp_min(1e-300).rsqrt()[:, None] * a * a.sum(0).clamp_min(1e-300).rsqrt()
    user, item = backbone.user_embedding, backbone.item_embedding
    layers = [torch.cat([user, item])]
    for _ in range(backbone.n_layers):
        user, item = a @ item, a.T @ user
        layers.append(torch.cat([user, item]))
    ids = torch.stack(layers).mean(0)
    views, graphs, product = [], [], torch.ones(data.n_items, dim // 2 + 1, dtype=torch.complex128)
    some = torch.zeros(data.n_items, dtype=torch.bool)

    def view(graph: Tensor, signal: Tensor, gate: torch.nn.Module, there: Tensor) -> Tensor:
        content = filtered(signal, gate.filter, dim)
        linear = content @ gate.gate.weight.T + gate.gate.bias
        gated = backbone.item_embedding * linear.sigmoid() * there[:, None]
        for _ in range(backbone.n_item_layers):
            gated = graph @ gated
        return torch.cat([a @ gated, gated])

    for name in NAMES:
        x, layer = data.features[name].double(), backbone.projectors[name]
        there = x.any(1)
        signal = spectrum(x @ layer.weight.T + layer.bias)
        graphs.append(cosine_graph(x, kept.get(name, 6)))
        views.append(view(graphs[-1], signal, backbone.gates[name], there))
        product = torch.where(there[:, None], product * signal, product)
        some |= there
    stacked = torch.stack(graphs)
    union = stacked.masked_fill(stacked == 0, -torch.inf).amax(0)
    union = union.masked_fill(union == -torch.inf, 0)
    fused = view(union, product, backbone.fused_gate, some)
    prefer = backbone.fused_gate.preference
    total = (ids @ prefer.weight.T + prefer.bias).sigmoid() * fused
    for name, z in zip(NAMES, views, strict=True):
        one, _, two = backbone.queries[name]
        attention = ((fused @ one.weight.T + one.bias).tanh() @ two.weight.T).softmax(1)
        prefer = backbone.gates[name].preference
        total = total + (ids @ prefer.weight.T + prefer.bias).sigmoid() * attention * z
    return ids + total / (len(NAMES) + 1)


@pytest.mark.parametrize(("dim", "n_item_layers"), [(7, 1), (8, 2), (1, 0)])
def test_missing_rows_and_three_modalities_equal_dense_formulas(
    dim: int, n_item_layers: int, golden_data, build
) -> None:
    data, kept = with_missing_rows(golden_data(*NAMES)), {"text": 3}
    options = {"dim": dim, "n_layers": 2, "n_item_layers": n_item_layers, "n_neighbors": kept}
    backbone = build(SMORE, data, GraphOptions(knn_k=6), **options)
    expected = dense(backbone, data, kept)
    found = torch.cat(list(backbone()))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    weights, parameters = torch.randn_like(found), list(backbone.parameters())
    ours = torch.autograd.grad((found * weights).sum(), parameters)
    theirs = torch.autograd.grad((expected * weights).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_a_filter_of_ones_changes_nothing(golden_data, build) -> None:
    backbone = build(SMORE, golden_data("text"), dim=9, aligned_content="filtered")
    with torch.no_grad():
        backbone.gates["text"].filter.copy_(torch.tensor([1.0, 0.0]))
        rows = torch.tensor([3, 30, 3])
        found = backbone.modalities()["text"][rows]
        expected = backbone.projectors["text"](backbone.features["text"][rows])
    torch.testing.assert_close(found, expected)


def test_one_neighbour_is_the_item_itself_and_equal_graphs_have_themselves_as_union(
    golden_data, build
) -> None:
    data = golden_data("text")
    backbone = build(SMORE, data, dim=8, n_neighbors={"text": 1})
    x = torch.randn(data.n_items, 4, dtype=torch.float64)
    torch.testing.assert_close(backbone.item_graphs["text"](x), x)
    twice = replace(data, features={"text": data.features["text"], "copy": data.features["text"]})
    backbone = build(SMORE, twice, dim=8)
    torch.testing.assert_close(backbone.fused_graph(x), backbone.item_graphs["copy"](x))


def test_a_normalised_union_has_scaled_rows(golden_data, build) -> None:
    """`D^-1/2 U D^-1/2` times the roots of the row sums D are these roots."""
    data = golden_data("text", "image")
    plain, scaled = (
        build(SMORE, data, dim=8, normalise_fusion=how).fused_graph for how in (False, True)
    )
    root = plain(torch.ones(data.n_items, 1, dtype=torch.float64)).sqrt()
    torch.testing.assert_close(scaled(root), root)


@pytest.mark.parametrize(
    ("n_neighbors", "message"), [({"text": 11}, "graph.knn_k to 11"), ({"sound": 3}, "'sound'")]
)
def test_neighbours_that_are_not_there_are_refused(
    n_neighbors: dict[str, int], message: str, golden_data, build
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(SMORE, golden_data("text"), dim=8, n_neighbors=n_neighbors)


def test_dropout_is_only_there_while_training(golden_data, build) -> None:
    backbone = build(SMORE, golden_data("text", "image"), dim=8, dropout=0.4)
    with torch.no_grad():
        assert not torch.allclose(backbone().item, backbone().item)
        backbone.eval()
        assert torch.equal(backbone().item, backbone().item)
