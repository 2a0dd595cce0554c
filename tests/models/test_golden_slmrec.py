"""SLMRec against the published implementation in float64, and against a dense one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, log_softmax, normalize

from crossalign.datasets import Dataset
from crossalign.graphs import build_graph
from crossalign.models import Batch
from crossalign.models.slmrec import SLMRec

GOLDEN = Path(__file__).parents[1] / "golden" / "backbones"
RTOL, ATOL = 1e-9, 1e-12
PARAMETERS = {
    "user_embedding": "embedding_user.weight",
    "item_embedding": "embedding_item.weight",
    **{
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for kind in ("weight", "bias")
        for ours, theirs in {
            "projectors.image": "v_dense",
            "projectors.text": "t_dense",
            "user_fusion": "embedding_user_after_GCN",
            "item_fusion": "embedding_item_after_GCN",
            "chain.item": "g_i_iv",
            "chain.steps.0": "g_iv_iva",
            "chain.steps.1": "g_iva_ivat",
            "chain.heads.image": "g_v_iv",
            "chain.heads.text": "g_t_ivat",
        }.items()
    },
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def data_set(names: tuple[str, ...] = ("image", "text")) -> Dataset:
    data = load("dataset")
    rng = torch.Generator().manual_seed(0)
    n_items = int(data["n_items"])
    extra = {m: torch.randn(n_items, 5, generator=rng).numpy() for m in ("audio", "video")}
    files = {"image": data["image_features"], "text": data["text_features"], **extra}
    features = {name: torch.from_numpy(files[name]) for name in names}
    splits = {s: torch.from_numpy(data[s].T.copy()) for s in ("train", "valid", "test")}
    return Dataset("golden", int(data["n_users"]), n_items, **splits, features=features)


def make(data: Dataset, **options: object) -> SLMRec:
    torch.manual_seed(0)
    features = {name: table.double() for name, table in data.features.items()}
    graph = build_graph(data, relations=SLMRec.relations)
    return SLMRec(graph, features, dim=16, **options).double()


def batch_of(golden: dict[str, np.ndarray]) -> Batch:
    return Batch(*(torch.from_numpy(golden[f"batch_{k}"]) for k in ("users", "pos", "neg")))


def test_equals_the_published_code() -> None:
    golden = load("slmrec")
    backbone = make(data_set(), reg_weight=0.1)
    assert set(dict(backbone.named_parameters())) == set(PARAMETERS)
    with torch.no_grad():
        for ours, theirs in PARAMETERS.items():
            backbone.get_parameter(ours).copy_(torch.from_numpy(golden[f"param/{theirs}"]))
    terms = backbone.loss(batch_of(golden), backbone())
    total = sum(terms.values())
    total.backward()
    np.testing.assert_allclose(total.item(), golden["loss/total"], rtol=RTOL)
    assert set(terms) == {"main", "fac_image", "fac_text"}
    for name, term in terms.items():
        expected = (1.0 if name == "main" else 0.1) * golden[f"loss/{name}"]
        np.testing.assert_allclose(term.item(), expected, rtol=RTOL, err_msg=name)
    for ours, theirs in PARAMETERS.items():
        gradient = backbone.get_parameter(ours).grad
        expected = golden[f"grad/{theirs}"]
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=RTOL, atol=ATOL, err_msg=ours)
    backbone.eval()
    user, item = (table.detach() for table in backbone())
    np.testing.assert_allclose(user.numpy(), golden["user_repr"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(item.numpy(), golden["item_repr"], rtol=RTOL, atol=ATOL)
    raw = user @ item.T
    np.testing.assert_allclose(raw.numpy(), golden["scores_raw"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(raw.sigmoid().numpy(), golden["scores"], rtol=RTOL, atol=ATOL)


def propagated(data: Dataset, user: Tensor, item: Tensor, n_layers: int) -> Tensor:
    """Layer mean over users then items with the whole normalised matrix."""
    adjacency = torch.zeros(data.n_users, data.n_items, dtype=torch.float64)
    adjacency[tuple(data.train)] = 1
    scale = [(adjacency.sum(dim) + 1e-8).rsqrt() for dim in (1, 0)]
    adjacency = scale[0][:, None] * adjacency * scale[1]
    square = torch.zeros(2 * (data.n_users + data.n_items,), dtype=torch.float64)
    square[: data.n_users, data.n_users :] = adjacency
    square = square + square.T
    layers = [torch.cat([user, item])]
    for _ in range(n_layers):
        layers.append(square @ layers[-1])
    return torch.stack(layers).mean(0)


def cross_entropy(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    return -log_softmax(a @ b.T / temperature, dim=1).diagonal().mean()


@pytest.mark.parametrize(
    ("names", "n_spaces", "stops"),
    [
        (("text",), 3, [0]),
        (("text", "image"), 2, [0, 1]),
        (("text", "image"), 4, [0, 3]),
        (("audio", "text", "image"), 3, [0, 1, 2]),
        (("audio", "text", "image", "video"), 3, [0, 1, 2, 3]),
    ],
)
def test_any_number_of_modalities_equals_a_dense_program(
    names: tuple[str, ...], n_spaces: int, stops: list[int]
) -> None:
    data, batch = data_set(names), batch_of(load("slmrec"))
    backbone = make(
        data, n_layers=2, temperature=0.3, ssl_temperature=0.7, reg_weight=0.4, n_spaces=n_spaces
    )
    views = [propagated(data, backbone.user_embedding, backbone.item_embedding, 2)]
    for name in names:
        features = normalize(data.features[name].double())
        content = backbone.projectors[name](features)
        views.append(propagated(data, backbone.user_embedding, content, 2))
    user, item = (torch.cat(part, 1) for part in zip(*(
        view.split([data.n_users, data.n_items]) for view in views
    ), strict=True))  # fmt: skip
    user, item = backbone.user_fusion(user), backbone.item_fusion(item)
    rows = normalize(user)[batch.users], normalize(item)[batch.items]
    expected = {"main": cross_entropy(*rows, 0.3)}
    space = backbone.chain.item(views[0][data.n_users :][batch.items])
    at = 0
    for name, view, stop in zip(names, views[1:], stops, strict=True):
        while at < stop:
            step = backbone.chain.steps[at]
            space, at = linear(space, step.weight, step.bias), at + 1
        theirs = backbone.chain.heads[name](view[data.n_users :][batch.items])
        assert theirs.shape[1] == (8 if len(names) > 1 and name == names[-1] else 16)
        expected[f"fac_{name}"] = 0.4 * cross_entropy(space, theirs, 0.7)
    terms = backbone.loss(batch, backbone())
    assert list(terms) == list(expected)
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], rtol=1e-9, atol=1e-12)


def test_ssl_can_be_left_out() -> None:
    backbone = make(data_set(), reg_weight=0.0)
    assert set(backbone.loss(batch_of(load("slmrec")), backbone())) == {"main"}


def test_features_are_scaled_without_touching_the_data_set() -> None:
    data = data_set()
    before = data.features["image"].clone()
    backbone = make(data)
    assert torch.equal(data.features["image"], before)
    table = backbone.features["image"]
    torch.testing.assert_close(table.norm(dim=1), torch.ones_like(table[:, 0]))
