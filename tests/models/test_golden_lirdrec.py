"""LIRDRec against the released code's numbers, over the hand-over of an epoch."""

from __future__ import annotations

import pytest
import torch

from crossalign.graphs import GraphOptions
from crossalign.models.lirdrec import LIRDRec

LAYERS = {"0.weight": "MLP.weight", "0.bias": "MLP.bias", "2.weight": "MLP_1.weight"}
PARAMETERS = {
    "preferences.image": "v_preference",
    "preferences.text": "t_preference",
    "shared_preferences": "id_preference",
    **{f"networks.image.{ours}": f"v_{theirs}" for ours, theirs in LAYERS.items()},
    **{f"networks.text.{ours}": f"t_{theirs}" for ours, theirs in LAYERS.items()},
    **{f"shared_network.{ours}": f"s_{theirs}" for ours, theirs in LAYERS.items()},
    **{
        f"mixture.networks.{place}.{ours}.{kind}": f"fusion_module.weco_{letter}.{theirs}.{kind}"
        for place, letter in enumerate("abc")
        for ours, theirs in ((0, "fc1"), (2, "fc2"))
        for kind in ("weight", "bias")
    },
    "mixture.own": "fusion_module.theta",
}


def released(case) -> tuple[LIRDRec, dict[str, tuple[str, float]]]:
    """The backbone with the recorded settings and parameters at the start of epoch 1."""
    hparams = case.hparams
    share, reg_weight = hparams["mm_image_weight"], hparams["reg_weight"]
    backbone = case.build(
        LIRDRec,
        "image",
        "text",
        graph=GraphOptions(knn_k=hparams["knn_k"]),
        dim=hparams["embedding_size"],
        n_layers=hparams["n_ui_layers"],
        n_item_layers=hparams["n_mm_layers"],
        dropout=hparams["dropout"],
        modality_weights={"image": share, "text": 1 - share},
        reg_weight=reg_weight,
        decay_weight=hparams["decay_weight"],
        decay_base=hparams["decay_base"],
    )
    case.fill(backbone, PARAMETERS)
    backbone.mixture.next_own.data.copy_(backbone.mixture.own)
    backbone.begin_epoch(torch.Generator())
    terms = {
        "bpr": ("bpr", 1.0),
        "reg_user": ("reg_user", reg_weight),
        "reg_item": ("reg_item", reg_weight),
    }
    return backbone, terms


@pytest.mark.golden("hosts", "lirdrec")
def test_graphs_losses_gradients_and_scores_equal_the_released_code(case) -> None:
    backbone, terms = released(case)
    at_first = case.hparams["fusion_at_first_step"]
    assert backbone.mixture.share().item() == pytest.approx(at_first["w_net"], rel=1e-12)
    case.check_item_graph(backbone.item_graphs, "mm")
    case.check_user_item_graph(backbone.propagation.full.to_user)
    for rows, name in zip(backbone.contents(), ("image", "text", "shared"), strict=True):
        case.equals(rows, f"content_{name}")
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, terms)
    case.equals(backbone.mixture.next_own, "attention")
    case.check_second_step(backbone, PARAMETERS, terms)


@pytest.mark.golden("hosts", "lirdrec")
def test_users_take_over_the_mixture_of_the_last_step_as_epoch_two_begins(case) -> None:
    backbone, terms = released(case)
    case.check_step(backbone, PARAMETERS, terms)
    case.step(backbone, PARAMETERS)
    backbone.train()()
    case.equals_after_step(backbone.mixture.next_own, "epoch2/last_attention")
    backbone.begin_epoch(torch.Generator())
    case.equals_after_step(backbone.mixture.own, "epoch2/theta")
    assert backbone.mixture.share().item() == pytest.approx(case["epoch2/w_net"].item(), rel=1e-12)
    case.check_step(backbone, PARAMETERS, terms, prefix="epoch2/")
    with torch.no_grad():
        user, item = backbone.eval()()
    case.equals_after_step(user @ item.T, "epoch2/scores")
