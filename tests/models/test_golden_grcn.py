"""GRCN against the published implementation in float64, and against a loop over the edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize

from crossalign.datasets import Dataset
from crossalign.models.grcn import GRCN

PARAMETERS = {
    "preferences.image": "v_gcn.preference",
    "preferences.text": "t_gcn.preference",
    "projectors.image.weight": "v_gcn.MLP.weight",
    "projectors.image.bias": "v_gcn.MLP.bias",
    "projectors.text.weight": "t_gcn.MLP.weight",
    "projectors.text.bias": "t_gcn.MLP.bias",
    ("user_embedding", "item_embedding"): "id_gcn.id_embedding",
    ("user_confidence", "item_confidence"): "model_specific_conf",
}


@pytest.fixture
def make(golden_data, build):
    """`make(*modalities, **options)`, of images and texts if none are named."""

    def make(*names, **options):
        return build(GRCN, golden_data(*(names or ("image", "text"))), dim=16, **options)

    return make


@pytest.fixture
def published(case) -> GRCN:
    """With the recorded parameters; the ID branch has two layers in all files."""
    hparams = case.hparams
    dim, weight = hparams["embedding_size"], hparams["reg_weight"]
    n_routing = hparams["n_layers"]  # without effect, there and here
    backbone = case.build(
        GRCN, "image", "text", dim=dim, n_layers=2, n_routing=n_routing, reg_weight=weight
    )
    case.fill(backbone, PARAMETERS)
    return backbone


@pytest.mark.golden("backbones", "grcn")
def test_equals_the_published_code(case, published: GRCN) -> None:
    weight = case.hparams["reg_weight"]
    terms = {name: (name, weight) for name in ("embedding_reg", "content_reg")}
    case.check_representations(published)
    case.check_step(published, PARAMETERS, {"bpr": ("bpr", 1.0), **terms})


@pytest.mark.golden("backbones", "grcn")
def test_edge_weights_equal_the_published_ones(case, published: GRCN) -> None:
    views = [published._view(name) for name in ("image", "text")]
    to_user, to_item = published.edge_weights(views)
    # Our edges are in the order of the training pairs, as the published ones are.
    assert torch.equal(published.edges.rows, case["train_users"])
    assert torch.equal(published.edges.cols, case["train_items"])
    case.equals(torch.cat([to_item, to_user]), "graph/edge_weight")


def looped(backbone: GRCN, data: Dataset, n_routing: int) -> tuple[Tensor, Tensor]:
    """Representations from lists of neighbours, one node at a time."""
    pairs = list(zip(*data.train.tolist(), strict=True))
    of_user = [[i for u, i in pairs if u == v] for v in range(data.n_users)]
    of_item = [[u for u, i in pairs if i == v] for v in range(data.n_items)]

    def attend(x: Tensor, rows: Tensor, near: list[int]) -> tuple[Tensor, dict[int, Tensor]]:
        masses = [math.e ** (x @ rows[j]) for j in near]
        shares = {j: mass / sum(masses) for j, mass in zip(near, masses, strict=True)}
        return sum((share * rows[j] for j, share in shares.items()), torch.zeros_like(x)), shares

    blocks, attention = [], []
    for name, projector in backbone.projectors.items():
        item = normalize(leaky_relu(projector(data.features[name].double()), 0.01))
        user = normalize(backbone.preferences[name])
        for _ in range(n_routing):
            moved = [x + attend(x, item, near)[0] for x, near in zip(user, of_user, strict=True)]
            user = normalize(torch.stack(moved))
        at_user = [attend(x, item, near) for x, near in zip(user, of_user, strict=True)]
        at_item = [attend(x, user, near) for x, near in zip(item, of_item, strict=True)]
        blocks.append((user + torch.stack([total for total, _ in at_user]),
                       item + torch.stack([total for total, _ in at_item])))  # fmt: skip
        attention.append(([shares for _, shares in at_user], [shares for _, shares in at_item]))
    sizes = data.n_users, data.n_items
    to_user, to_item = torch.zeros(*sizes).double(), torch.zeros(*sizes).double()
    for u, i in pairs:
        towards_user = torch.stack([at_user[u][i] for at_user, _ in attention])
        towards_item = torch.stack([at_item[i][u] for _, at_item in attention])
        to_user[u, i] = (towards_user * backbone.item_confidence[i]).max().relu()
        to_item[u, i] = (towards_item * backbone.user_confidence[u]).max().relu()
    user, item = normalize(backbone.user_embedding), normalize(backbone.item_embedding)
    layers = [(user, item)]
    for _ in range(backbone.n_layers):
        layers.append((to_user @ layers[-1][1], to_item.T @ layers[-1][0]))
    ids = [torch.stack(side).sum(0) for side in zip(*layers, strict=True)]
    return tuple(torch.cat([first, *rest], 1)
                 for first, rest in zip(ids, zip(*blocks, strict=True), strict=True))  # fmt: skip


@pytest.mark.parametrize("names", [("text",), ("audio", "text", "image")])
@pytest.mark.parametrize(("routing", "steps"), [("parity", 0), ("paper", 2)])
def test_equals_a_loop_over_the_edges(
    names: tuple[str, ...], routing: str, steps: int, make, golden_data
) -> None:
    backbone = make(*names, routing=routing, n_routing=2, n_layers=3)
    ours, theirs = backbone(), looped(backbone, golden_data(*names), steps)
    weights = [torch.randn(table.shape).double() for table in theirs]
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-12)
    parameters = list(backbone.parameters())
    mine, expected = (
        torch.autograd.grad(
            sum((t * w).sum() for t, w in zip(side, weights, strict=True)), parameters
        )
        for side in (ours, theirs)
    )
    for a, b in zip(mine, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


def test_routing_steps_have_no_effect_under_parity(make) -> None:
    for routing, equal in (("parity", True), ("paper", False)):
        one, three = (make(routing=routing, n_routing=n)().user for n in (1, 3))
        assert torch.equal(one, three) == equal


def test_preferences_of_every_modality_are_regularised_if_asked(golden, make) -> None:
    batch = golden("grcn").batch
    published = make(reg_weight=1.0)
    fair = make(reg_weight=1.0, all_preferences=True)
    ours, theirs = (b.loss(batch, b())["embedding_reg"] for b in (fair, published))
    expected = fair.preferences["text"].square().mean()
    torch.testing.assert_close(ours - theirs, expected)


def test_no_tensor_in_the_graph_of_a_step_is_larger_than_the_tables_or_the_edges(make) -> None:
    """Gathered rows, `(n_edges, dim)`, are not kept for the backward pass."""
    backbone = make(routing="paper")
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        backbone()
    n_edges = len(backbone.edges.rows)
    assert max(sizes) <= max(2 * n_edges, 60 * 20)
    assert max(sizes) < n_edges * 16
