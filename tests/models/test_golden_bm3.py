"""BM3 against the published implementation in float64, and against a loop over the pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from crossalign.align.functional import unit_rows
from crossalign.datasets import Dataset
from crossalign.graphs import build_graph
from crossalign.models import Batch
from crossalign.models.bm3 import BM3

GOLDEN = Path(__file__).parents[1] / "golden" / "backbones"
RTOL, ATOL = 1e-9, 1e-12
PARAMETERS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
    "predictor.weight": "predictor.weight",
    "predictor.bias": "predictor.bias",
    "features.image": "image_embedding.weight",
    "features.text": "text_embedding.weight",
    "projectors.image.weight": "image_trs.weight",
    "projectors.image.bias": "image_trs.bias",
    "projectors.text.weight": "text_trs.weight",
    "projectors.text.bias": "text_trs.bias",
}
WEIGHTS = {
    "ui": 1.0,
    "iu": 1.0,
    "image_item": 2.0,
    "image_image": 2.0,
    "text_item": 2.0,
    "text_text": 2.0,
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


def make(data: Dataset, **options: object) -> BM3:
    torch.manual_seed(0)
    features = {name: table.double() for name, table in data.features.items()}
    return BM3(build_graph(data, relations=BM3.relations), features, dim=16, **options).double()


def batch_of(golden: dict[str, np.ndarray]) -> Batch:
    return Batch(*(torch.from_numpy(golden[f"batch_{k}"]) for k in ("users", "pos", "neg")))


@pytest.mark.parametrize("name", ["bm3", "bm3_drop"])
def test_equals_the_published_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = load(name)
    rate = 0.3 if name == "bm3_drop" else 0.0
    backbone = make(data_set(), dropout=rate, reg_weight=0.1, trainable_features=True)
    assert set(dict(backbone.named_parameters())) == set(PARAMETERS)
    with torch.no_grad():
        for ours, theirs in PARAMETERS.items():
            backbone.get_parameter(ours).copy_(torch.from_numpy(golden[f"param/{theirs}"]))

    def recorded(table: str, rows: Tensor, ids: Tensor) -> Tensor:
        keep = torch.from_numpy(golden[f"draw/dropout_keep_{table}"])[ids]
        return unit_rows(rows.detach() * keep / (1 - rate))

    if rate > 0:
        monkeypatch.setattr(backbone, "target", recorded)
    terms = backbone.loss(batch_of(golden), backbone())
    total = sum(terms.values())
    total.backward()
    np.testing.assert_allclose(total.item(), golden["loss/total"], rtol=RTOL)
    np.testing.assert_allclose(terms["reg"].item(), 0.1 * golden["loss/emb_reg"], rtol=RTOL)
    assert set(terms) == {*WEIGHTS, "reg"}
    for term, weight in WEIGHTS.items():
        expected = weight * golden[f"loss/{term}"]
        np.testing.assert_allclose(terms[term].item(), expected, rtol=RTOL, err_msg=term)
    for ours, theirs in PARAMETERS.items():
        gradient = backbone.get_parameter(ours).grad
        expected = golden[f"grad/{theirs}"]
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=RTOL, atol=ATOL, err_msg=ours)
    user, item = (table.detach() for table in backbone())
    np.testing.assert_allclose(user.numpy(), golden["user_repr"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(item.numpy(), golden["item_repr"], rtol=RTOL, atol=ATOL)
    backbone.eval()
    user, item = (table.detach() for table in backbone())
    np.testing.assert_allclose((user @ item.T).numpy(), golden["scores"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(item.numpy(), golden["pred_item_repr"], rtol=RTOL, atol=ATOL)


def test_three_modalities_equal_a_loop_over_the_pairs() -> None:
    data = data_set(("audio", "text", "image"))
    backbone = make(data, dropout=0.0, n_layers=2, cl_weight=0.7, reg_weight=0.2)
    batch = batch_of(load("bm3"))
    user, item = representations = backbone()
    terms = backbone.loss(batch, representations)
    expected = dict.fromkeys(terms, 0.0)
    predict = backbone.predictor
    for u, i in zip(batch.users, batch.items, strict=True):

        def add(term: str, online: Tensor, target: Tensor, weight: float = 1.0) -> None:
            gap = 1 - cosine_similarity(predict(online), target, dim=0).item()
            expected[term] += weight * gap / len(batch.users)

        add("ui", user[u], item[i])
        add("iu", item[i], user[u])
        for m in data.features:
            content = backbone.projectors[m](data.features[m][i].double())
            add(f"{m}_item", content, item[i], 0.7)
            add(f"{m}_{m}", content, content, 0.7)
    norms = user.norm() + item.norm()
    expected["reg"] = 0.2 * norms.item() / data.n_items
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-9)


def test_targets_do_not_move_and_drop_the_named_share_while_training() -> None:
    backbone = make(data_set(), dropout=0.5)
    rows = torch.ones(400, 16, dtype=torch.float64, requires_grad=True)
    target = backbone.target("item", rows, torch.arange(400))
    assert not target.requires_grad
    assert (target == 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    backbone.eval()
    assert (backbone.target("item", rows, torch.arange(400)) == 0.25).all()


def test_dropout_follows_the_global_seed() -> None:
    backbone, batch = make(data_set()), batch_of(load("bm3"))
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(backbone.loss(batch, backbone())["ui"].item())
    assert draws[0] == draws[1] != draws[2]


def test_negatives_are_not_read() -> None:
    backbone, batch = make(data_set(), dropout=0.0), batch_of(load("bm3"))
    other = batch._replace(negatives=batch.negatives.flip(0))
    ours, theirs = (backbone.loss(b, backbone()) for b in (batch, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_content_terms_can_be_left_out() -> None:
    backbone = make(data_set(), cl_weight=0.0)
    assert set(backbone.loss(batch_of(load("bm3")), backbone())) == {"ui", "iu", "reg"}
