"""The released AlignRec, with and without UIA, is reproduced in float64."""

from __future__ import annotations

import pytest
import torch

from crossalign.graphs import GraphOptions
from crossalign.models.alignrec import AlignRec

pytestmark = pytest.mark.golden("systems", "alignrec")

PARAMETERS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
    "features.content": "mm_embedding.weight",
    "projector.weight": "mm_trs.weight",
    "projector.bias": "mm_trs.bias",
    "gate.weight": "gate_v.0.weight",
    "gate.bias": "gate_v.0.bias",
}


def make(case) -> AlignRec:
    """With the recorded parameters; CCA's temperature is not in the files, so 0.2, our default."""
    hparams = case.hparams
    backbone = case.build(
        AlignRec,
        "image",  # the unified content
        graph=GraphOptions(knn_k=hparams["knn_k"]),
        dim=hparams["embedding_size"],
        n_layers=hparams["n_ui_layers"],
        n_item_layers=hparams["n_layers"],
        cl_weight=hparams["cl_loss"],
        uia_weight=hparams["ui_cosine_loss_weight"] if hparams["ui_cosine_loss"] else 0.0,
        sim_weight=hparams["sim_weight"],
        reg_weight=hparams["reg_weight"],
        reg_batch_size=hparams["configured_batch_size"],
        trainable_features=True,
        sim_target="live",
    )
    case.fill(backbone, PARAMETERS)
    return backbone


def terms_of(hparams: dict) -> dict[str, tuple[str, float]]:
    terms = {
        "bpr": ("bpr", 1.0),
        "reg": ("weighted_l2", 1.0),
        "cca_user": ("cca_user", hparams["cl_loss"]),
        "cca_item": ("cca_item", hparams["cl_loss"]),
        "sim": ("sim", hparams["sim_weight"]),
    }
    if hparams["ui_cosine_loss"]:
        terms["uia"] = ("uia", hparams["ui_cosine_loss_weight"])
    return terms


def test_losses_gradients_scores_and_a_second_step_equal_the_released_code(case) -> None:
    backbone, terms = make(case), terms_of(case.hparams)
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, terms)
    case.check_second_step(backbone, PARAMETERS, terms)


def test_both_summands_and_both_graphs_equal_the_released_code(case) -> None:
    backbone = make(case)
    with torch.no_grad():
        backbone.eval()()
    for name, view in (("id", backbone.last.read().ids), ("content", backbone.last.read().content)):
        case.equals(view.user, f"{name}_user_repr")
        case.equals(view.item, f"{name}_item_repr")
    case.check_item_graph(backbone.item_graph, "mm")
    case.check_user_item_graph(backbone.propagation.to_user)
