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


@pytest.fixture
def make(golden_data, build):
    """`make(*modalities, **options)`, of images and texts if none are named."""

    def make(*names, **options):
        return build(BM3, golden_data(*(names or ("image", "text"))), dim=16, **options)

    return make


@pytest.mark.golden("backbones", "bm3")
def test_equals_the_published_code(case, monkeypatch) -> None:
    """The predicted tables too; with the recorded dropout masks where there are any."""
    hparams = case.hparams
    rate, weight, reg = (hparams[name] for name in ("dropout", "cl_weight", "reg_weight"))
    backbone = case.build(
        BM3,
        "image",
        "text",
        dim=hparams["embedding_size"],
        n_layers=hparams["n_layers"],
        dropout=rate,
        cl_weight=weight,
        reg_weight=reg,
        trainable_features=True,
    )
    case.fill(backbone, PARAMETERS)

    def recorded(table: str, rows: Tensor, ids: Tensor) -> Tensor:
        keep = case[f"draw/dropout_keep_{table}"][ids]
        return unit_rows(rows.detach() * keep / (1 - rate))

    if rate > 0:
        monkeypatch.setattr(backbone, "target", recorded)
    contents = ("image_item", "image_image", "text_item", "text_text")
    terms = {"ui": ("ui", 1.0), "iu": ("iu", 1.0), "reg": ("emb_reg", reg)}
    case.check_step(backbone, PARAMETERS, terms | {name: (name, weight) for name in contents})
    user, item = backbone()
    case.equals(user, "user_repr")
    case.equals(item, "item_repr")
    case.check_representations(backbone, prefix="pred_")


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
