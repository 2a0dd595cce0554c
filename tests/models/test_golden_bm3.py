"""BM3 against the published implementation in float64, and against a loop over the pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from crossalign.models.bm3 import BM3
from crossalign.tensors.functional import unit_rows

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
TERMS = {
    "ui": ("ui", 1.0),
    "iu": ("iu", 1.0),
    "image_item": ("image_item", 2.0),
    "image_image": ("image_image", 2.0),
    "text_item": ("text_item", 2.0),
    "text_text": ("text_text", 2.0),
    "reg": ("emb_reg", 0.1),
}


@pytest.fixture
def make(golden_data, build):
    """`make(*modalities, **options)`, of images and texts if none are named."""

    def make(*names, **options):
        return build(BM3, golden_data(*(names or ("image", "text"))), dim=16, **options)

    return make


@pytest.mark.parametrize("name", ["bm3", "bm3_drop"])
def test_equals_the_published_code(name: str, golden, make, monkeypatch) -> None:
    numbers = golden(name)
    rate = 0.3 if name == "bm3_drop" else 0.0
    backbone = make(dropout=rate, reg_weight=0.1, trainable_features=True)
    numbers.fill(backbone, PARAMETERS)

    def recorded(table: str, rows: Tensor, ids: Tensor) -> Tensor:
        keep = numbers[f"draw/dropout_keep_{table}"][ids]
        return unit_rows(rows.detach() * keep / (1 - rate))

    if rate > 0:
        monkeypatch.setattr(backbone, "target", recorded)
    numbers.check_step(backbone, PARAMETERS, TERMS)
    user, item = backbone()
    numbers.equals(user, "user_repr")
    numbers.equals(item, "item_repr")
    numbers.check_representations(backbone, prefix="pred_")


def test_three_modalities_equal_a_loop_over_the_pairs(golden, golden_data, make) -> None:
    names = ("audio", "text", "image")
    data, batch = golden_data(*names), golden("bm3").batch
    backbone = make(*names, dropout=0.0, n_layers=2, cl_weight=0.7, reg_weight=0.2)
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


def test_targets_do_not_move_and_drop_the_named_share_while_training(make) -> None:
    backbone = make(dropout=0.5)
    rows = torch.ones(400, 16, dtype=torch.float64, requires_grad=True)
    target = backbone.target("item", rows, torch.arange(400))
    assert not target.requires_grad
    assert (target == 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    backbone.eval()
    assert (backbone.target("item", rows, torch.arange(400)) == 0.25).all()


def test_dropout_follows_the_global_seed(golden, make) -> None:
    backbone, batch = make(), golden("bm3").batch
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(backbone.loss(batch, backbone())["ui"].item())
    assert draws[0] == draws[1] != draws[2]


def test_negatives_are_not_read(golden, make) -> None:
    backbone, batch = make(dropout=0.0), golden("bm3").batch
    other = batch._replace(negatives=batch.negatives.flip(0))
    ours, theirs = (backbone.loss(b, backbone()) for b in (batch, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_content_terms_can_be_left_out(golden, make) -> None:
    backbone = make(cl_weight=0.0)
    assert set(backbone.loss(golden("bm3").batch, backbone())) == {"ui", "iu", "reg"}
