"""The published BPR, LightGCN, VBPR and FREEDOM are reproduced in float64."""

from __future__ import annotations

import pytest

from crossalign.graphs import GraphOptions
from crossalign.models.bpr import BPR
from crossalign.models.freedom import FREEDOM
from crossalign.models.lightgcn import LightGCN
from crossalign.models.vbpr import VBPR

EMBEDDINGS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_embedding.weight",
}
OF_LIGHTGCN = {
    "user_embedding": "embedding_dict.user_emb",
    "item_embedding": "embedding_dict.item_emb",
}
OF_VBPR = {
    "user_embedding": "u_embedding",
    "item_embedding": "i_embedding",
    "projector.weight": "item_linear.weight",
    "projector.bias": "item_linear.bias",
}
OF_FREEDOM = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
    "features.image": "image_embedding.weight",
    "features.text": "text_embedding.weight",
    "projectors.image.weight": "image_trs.weight",
    "projectors.image.bias": "image_trs.bias",
    "projectors.text.weight": "text_trs.weight",
    "projectors.text.bias": "text_trs.bias",
}


def check(case, backbone, names, weights) -> None:
    """`weights` of the terms after `bpr`: ours -> (published name, weight)."""
    case.fill(backbone, names)
    case.check_representations(backbone)
    case.check_step(backbone, names, {"bpr": ("bpr", 1.0), **weights})


@pytest.mark.golden("backbones", "bpr")
def test_bpr_equals_the_published_code(case) -> None:
    dim, weight = case.hparams["embedding_size"], case.hparams["reg_weight"]
    backbone = case.build(BPR, dim=dim, reg_weight=weight)
    check(case, backbone, EMBEDDINGS, {"reg": ("emb_reg", weight)})


@pytest.mark.golden("backbones", "lightgcn")
def test_lightgcn_equals_the_published_code(case) -> None:
    dim, weight = case.hparams["embedding_size"], case.hparams["reg_weight"]
    n_layers = case.hparams["n_layers"]
    backbone = case.build(LightGCN, dim=dim, n_layers=n_layers, reg_weight=weight)
    case.check_user_item_graph(backbone.propagation.to_user)
    check(case, backbone, OF_LIGHTGCN, {"reg": ("emb_reg", weight)})


@pytest.mark.golden("backbones", "vbpr")
def test_vbpr_equals_the_published_code(case) -> None:
    dim, weight = case.hparams["embedding_size"], case.hparams["reg_weight"]
    # Text stands before image in the published item.
    backbone = case.build(VBPR, "text", "image", dim=dim, reg_weight=weight)
    check(case, backbone, OF_VBPR, {"reg": ("emb_reg", weight)})


@pytest.mark.golden("backbones", "freedom")
def test_freedom_equals_the_published_code(case) -> None:
    """It trains on the pruned graph where one is recorded, and scores on the full one."""
    hparams = case.hparams
    image, weight = hparams["mm_image_weight"], hparams["reg_weight"]
    backbone = case.build(
        FREEDOM,
        "image",
        "text",
        graph=GraphOptions(knn_k=hparams["knn_k"]),
        dim=hparams["embedding_size"],
        n_layers=hparams["n_ui_layers"],
        n_item_layers=hparams["n_mm_layers"],
        dropout=hparams["dropout"],
        reg_weight=weight,
        modality_weights={"image": image, "text": 1 - image},
        trainable_features=True,
    )
    if hparams["dropout"] > 0:
        kept = case["graph/kept_edges"]
        assert int(len(case["train_users"]) * (1 - hparams["dropout"])) == len(kept)
        backbone.propagation.keep(kept)
    contents = {f"bpr_{name}": (f"bpr_{name}", weight) for name in ("image", "text")}
    check(case, backbone, OF_FREEDOM, contents)
