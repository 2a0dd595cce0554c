"""GRCN against the published implementation in float64, and against a loop over the edges."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize

from crossalign.datasets import Dataset
from crossalign.graphs import build_graph
from crossalign.graphs.weighted import EdgeWeights
from crossalign.models import Batch
from crossalign.models.grcn import GRCN

GOLDEN = Path(__file__).parents[1] / "golden" / "backbones"
RTOL, ATOL = 1e-9, 1e-12
PARAMETERS = {
    "preferences.image": "v_gcn.preference",
    "preferences.text": "t_gcn.preference",
    "projectors.image.weight": "v_gcn.MLP.weight",
    "projectors.image.bias": "v_gcn.MLP.bias",
    "projectors.text.weight": "t_gcn.MLP.weight",
    "projectors.text.bias": "t_gcn.MLP.bias",
}
# Published tables over users then items.
STACKED = {
    ("user_embedding", "item_embedding"): "id_gcn.id_embedding",
    ("user_confidence", "item_confidence"): "model_specific_conf",
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def data_set(names: tuple[str, ...] = ("image", "text")) -> Dataset:
    data = load("dataset")
    rng = torch.Generator().manual_seed(0)
    extra = {"audio": torch.randn(int(data["n_items"]), 5, generator=rng).numpy()}
    files = {"image": data["image_features"], "text": data["text_features"], **extra}
    features = {name: torch.from_numpy(files[name]) for name in names}
    splits = {s: torch.from_numpy(data[s].T.copy()) for s in ("train", "valid", "test")}
    return Dataset(
        "golden", int(data["n_users"]), int(data["n_items"]), **splits, features=features
    )


def make(data: Dataset, **options: object) -> GRCN:
    torch.manual_seed(0)
    features = {name: table.double() for name, table in data.features.items()}
    return GRCN(build_graph(data, relations=GRCN.relations), features, dim=16, **options).double()


def batch_of(golden: dict[str, np.ndarray]) -> Batch:
    return Batch(*(torch.from_numpy(golden[f"batch_{k}"]) for k in ("users", "pos", "neg")))


def parity_model(golden: dict[str, np.ndarray]) -> GRCN:
    backbone = make(data_set(), reg_weight=0.01)
    with torch.no_grad():
        for ours, theirs in PARAMETERS.items():
            backbone.get_parameter(ours).copy_(torch.from_numpy(golden[f"param/{theirs}"]))
        for (user, item), theirs in STACKED.items():
            both = torch.from_numpy(golden[f"param/{theirs}"])
            backbone.get_parameter(user).copy_(both[:60])
            backbone.get_parameter(item).copy_(both[60:])
    return backbone


def test_equals_the_published_code() -> None:
    golden = load("grcn")
    backbone = parity_model(golden)
    stacked = {name for pair in STACKED for name in pair}
    assert set(dict(backbone.named_parameters())) == set(PARAMETERS) | stacked
    terms = backbone.loss(batch_of(golden), backbone())
    total = sum(terms.values())
    total.backward()
    np.testing.assert_allclose(total.item(), golden["loss/total"], rtol=RTOL)
    assert set(terms) == {"bpr", "embedding_reg", "content_reg"}
    for name, term in terms.items():
        expected = (1.0 if name == "bpr" else 0.01) * golden[f"loss/{name}"]
        np.testing.assert_allclose(term.item(), expected, rtol=RTOL, err_msg=name)
    gradients = {
        theirs: backbone.get_parameter(ours).grad for ours, theirs in PARAMETERS.items()
    } | {
        theirs: torch.cat([backbone.get_parameter(part).grad for part in parts])
        for parts, theirs in STACKED.items()
    }
    for name, gradient in gradients.items():
        expected = golden[f"grad/{name}"]
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=RTOL, atol=ATOL, err_msg=name)
    backbone.eval()
    user, item = (table.detach() for table in backbone())
    np.testing.assert_allclose((user @ item.T).numpy(), golden["scores"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(user.numpy(), golden["user_repr"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(item.numpy(), golden["item_repr"], rtol=RTOL, atol=ATOL)


def test_edge_weights_equal_the_published_ones() -> None:
    golden = load("grcn")
    backbone = parity_model(golden)
    views = [backbone._view(name) for name in ("image", "text")]
    to_user, to_item = (w.detach().numpy() for w in backbone.edge_weights(views))
    by_pair = dict(zip(zip(golden["train_users"], golden["train_items"], strict=True),
                       golden["graph/edge_weight"].reshape(2, -1).T, strict=True))  # fmt: skip
    pairs = zip(backbone.edges.users.tolist(), backbone.edges.items.tolist(), strict=True)
    expected = np.array([by_pair[pair] for pair in pairs])
    np.testing.assert_allclose(np.stack([to_item, to_user], 1), expected, rtol=RTOL, atol=ATOL)


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
def test_equals_a_loop_over_the_edges(names: tuple[str, ...], routing: str, steps: int) -> None:
    data = data_set(names)
    backbone = make(data, routing=routing, n_routing=2, n_layers=3)
    ours, theirs = backbone(), looped(backbone, data, steps)
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


def test_routing_steps_have_no_effect_under_parity() -> None:
    data = data_set()
    for routing, equal in (("parity", True), ("paper", False)):
        one, three = (make(data, routing=routing, n_routing=n)().user for n in (1, 3))
        assert torch.equal(one, three) == equal


def test_preferences_of_every_modality_are_regularised_if_asked() -> None:
    batch = batch_of(load("grcn"))
    published = make(data_set(), reg_weight=1.0)
    fair = make(data_set(), reg_weight=1.0, all_preferences=True)
    ours, theirs = (b.loss(batch, b())["embedding_reg"] for b in (fair, published))
    expected = fair.preferences["text"].square().mean()
    torch.testing.assert_close(ours - theirs, expected)


def test_no_tensor_in_the_graph_of_a_step_is_larger_than_the_tables_or_the_edges() -> None:
    """Gathered rows, `(n_edges, dim)`, are not kept for the backward pass."""
    backbone = make(data_set(), routing="paper")
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        backbone()
    n_edges = len(backbone.edges.users)
    assert max(sizes) <= max(2 * n_edges, 60 * 20)
    assert max(sizes) < n_edges * 16


def test_edge_operations_pass_gradcheck_on_repeated_edges_and_lonely_nodes() -> None:
    users, items = torch.tensor([3, 0, 0, 3, 0]), torch.tensor([1, 1, 4, 1, 0])
    edges = EdgeWeights(users, items, 5, 6)
    user, item, weights = (
        torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in ((5, 3), (6, 3), (5,))
    )
    dense = torch.zeros(5, 6).double().index_put((users, items), weights, accumulate=True)
    torch.testing.assert_close(edges.to_user(weights, item), dense @ item)
    torch.testing.assert_close(edges.to_item(weights, user), dense.T @ user)
    torch.testing.assert_close(edges.dot(user, item), (user @ item.T)[users, items])
    assert torch.autograd.gradcheck(edges.to_user, (weights, item))
    assert torch.autograd.gradcheck(edges.to_item, (weights, user))
    assert torch.autograd.gradcheck(edges.dot, (user, item))
    shares = edges.softmax_at_users(weights)
    torch.testing.assert_close(shares[users == 0].sum(), torch.ones(()).double())
    assert not edges.to_user(weights, item)[1].any()
