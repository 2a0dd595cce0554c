"""SLMRec against the published implementation in float64, and against a dense one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, log_softmax, normalize

from crossalign.datasets import Dataset
from crossalign.models.slmrec import SLMRec

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


@pytest.fixture
def make(golden_data, build):
    """`make(*modalities, **options)`, of images and texts if none are named."""

    def make(*names, **options):
        return build(SLMRec, golden_data(*(names or ("image", "text"))), dim=16, **options)

    return make


@pytest.mark.golden("backbones", "slmrec")
def test_equals_the_published_code(case) -> None:
    hparams = case.hparams
    weight = hparams["ssl_alpha"]
    backbone = case.build(
        SLMRec,
        "image",
        "text",
        dim=hparams["recdim"],
        n_layers=hparams["layer_num"],
        temperature=hparams["temp"],
        reg_weight=weight,
        ssl_temperature=hparams["ssl_temp"],
    )
    case.fill(backbone, PARAMETERS)
    contents = {name: (name, weight) for name in ("fac_image", "fac_text")}
    case.check_step(backbone, PARAMETERS, {"main": ("main", 1.0), **contents})
    user, item = backbone.eval()()
    case.equals(user, "user_repr")
    case.equals(item, "item_repr")
    case.equals(user @ item.T, "scores_raw")
    case.equals((user @ item.T).sigmoid(), "scores")


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
    names: tuple[str, ...], n_spaces: int, stops: list[int], golden, golden_data, make
) -> None:
    data, batch = golden_data(*names), golden("slmrec").batch
    temperatures = {"temperature": 0.3, "ssl_temperature": 0.7}
    backbone = make(*names, n_layers=2, reg_weight=0.4, n_spaces=n_spaces, **temperatures)
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


def test_ssl_can_be_left_out(golden, make) -> None:
    backbone = make(reg_weight=0.0)
    assert set(backbone.loss(golden("slmrec").batch, backbone())) == {"main"}


def test_features_are_scaled_without_touching_the_data_set(golden_data, build) -> None:
    data = golden_data("image")
    before = data.features["image"].clone()
    backbone = build(SLMRec, data)
    assert torch.equal(data.features["image"], before)
    table = backbone.features["image"]
    torch.testing.assert_close(table.norm(dim=1), torch.ones_like(table[:, 0]))
