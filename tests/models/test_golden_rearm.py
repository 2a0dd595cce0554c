"""REARM against the released code's numbers, its drawn lists and masks taken as given."""

from __future__ import annotations

import functools

import pytest
import torch

from crossalign.graphs import GraphOptions
from crossalign.graphs.neighbor_lists import NeighborLists
from crossalign.models.rearm import REARM

PARAMETERS = {
    "attention.norm.weight": "ly_norm.weight",
    "attention.norm.bias": "ly_norm.bias",
    "attention.slope.weight": "prl.weight",
}
ATTENTIONS = {
    "within.image": "self_i_attn1",
    "within.text": "self_i_attn2",
    "across.image.text": "mutual_i_attn1",
    "across.text.image": "mutual_i_attn2",
}
MASKS = {
    "within.image": "self_image",
    "within.text": "self_text",
    "across.image.text": "text_to_image",
    "across.text.image": "image_to_text",
}
for ours, theirs in ATTENTIONS.items():
    for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"):
        PARAMETERS[f"attention.{ours}.{name}"] = f"{theirs}.{name}"
for side, letter in (("user", "u"), ("item", "i")):
    PARAMETERS[f"{side}s.embedding"] = f"{side}_id_embedding.weight"
    for name in ("image", "text"):
        table = f"{name}_embedding.weight" if side == "item" else f"user_{name[0]}_prefer"
        PARAMETERS[f"{side}s.features.{name}"] = table.replace("user_i_", "user_v_")
        for kind in ("weight", "bias"):
            PARAMETERS[f"{side}s.projectors.{name}.{kind}"] = f"{name}_{letter}_trs.{kind}"
    part = f"{side}s.shared_part"
    for kind in ("weight", "bias"):
        PARAMETERS[f"{part}.meta.{kind}"] = f"meta_net{letter}.{kind}"
        for place, order in (("first", 1), ("second", 2)):
            PARAMETERS[f"{part}.{place}.0.{kind}"] = f"mlp_{letter}{order}.linear_pre.{kind}"
            PARAMETERS[f"{part}.{place}.2.{kind}"] = f"mlp_{letter}{order}.linear_out.{kind}"
    for place, order in (("first", 1), ("second", 2)):
        PARAMETERS[f"{part}.{place}.1.weight"] = f"mlp_{letter}{order}.prl.weight"


def released(case) -> REARM:
    """The backbone with the recorded settings, parameters, lists and masks."""
    hparams = case.hparams
    of_user, of_item = hparams["u_mm_image_weight"], hparams["i_mm_image_weight"]
    backbone = case.build(
        REARM,
        "image",
        "text",
        graph=GraphOptions(knn_k=hparams["item_knn_k"], user_knn_k=hparams["user_knn_k"]),
        dim=hparams["embedding_dim"],
        n_layers=hparams["n_layers"],
        n_user_layers=hparams["n_uu_layers"],
        n_item_layers=hparams["n_ii_layers"],
        n_neighbors=hparams["user_knn_k"],
        n_item_neighbors=hparams["item_knn_k"],
        user_share=hparams["uu_co_weight"],
        item_share=hparams["ii_co_weight"],
        user_weights={"image": of_user, "text": 1 - of_user},
        modality_weights={"image": of_item, "text": 1 - of_item},
        rank=hparams["rank"],
        self_dropout=hparams["s_drop"],
        cross_dropout=hparams["m_drop"],
        cl_weight=hparams["cl_loss_weight"],
        temperature=hparams["cl_tmp"],
        diff_weight=hparams["diff_loss_weight"],
        trainable_features=True,
    )
    for kind, side in (("user", backbone.users), ("item", backbone.items)):
        recorded = (case[f"draw/{kind}_co_neighbours"], case[f"draw/{kind}_co_counts"])
        side.use(NeighborLists(*recorded))
    for ours, theirs in MASKS.items():
        if f"draw/keep_{theirs}" in case:
            attention = backbone.attention.get_submodule(ours)
            keep = case[f"draw/keep_{theirs}"]
            attention.forward = functools.partial(attention.forward, keep=keep)
    case.fill(backbone, PARAMETERS)
    return backbone


@pytest.mark.golden("hosts", "rearm")
def test_losses_gradients_scores_and_a_second_step_equal_the_released_code(case) -> None:
    backbone, hparams = released(case), case.hparams
    terms = {"bpr": ("bpr", 1.0)}
    for side in ("user", "item"):
        terms[f"cl_{side}"] = (f"cl_{side}", hparams["cl_loss_weight"])
        terms[f"diff_{side}"] = (f"diff_{side}", hparams["diff_loss_weight"])
    case.check_user_item_graph(backbone.propagation.to_user)
    for kind, side in (("user", backbone.users), ("item", backbone.items)):
        n = int(case[f"n_{kind}s"])
        ours = side.graph(torch.eye(n, dtype=torch.float64))
        torch.testing.assert_close(ours, case.matrix(kind, n), rtol=1e-9, atol=1e-12)
    case.check_representations(backbone)
    content = backbone.last.read()
    for kind in ("user", "item"):
        both = torch.cat([case[f"{name}_{kind}_repr"] for name in ("image", "text")], dim=1)
        torch.testing.assert_close(getattr(content, kind), both, rtol=1e-9, atol=1e-12)
    case.check_step(backbone, PARAMETERS, terms)
    case.check_second_step(backbone, PARAMETERS, terms)
