"""The model in CRANE's repository, with and without pruning, is reproduced in float64."""

from __future__ import annotations

import pytest

from crossalign.graphs import GraphOptions
from crossalign.models.crane_released import CRANEReleased

pytestmark = pytest.mark.golden("systems", "crane_released")

ATTENTION = "cross_modal_attention"
PARAMETERS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
    "features.image": "image_embedding.weight",
    "features.text": "text_embedding.weight",
    "attention.in_proj.weight": f"{ATTENTION}.attention.in_proj_weight",
    "attention.in_proj.bias": f"{ATTENTION}.attention.in_proj_bias",
    **{
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for kind in ("weight", "bias")
        for ours, theirs in {
            "projectors.image": "image_trs",
            "projectors.text": "text_trs",
            "transforms.image": f"{ATTENTION}.visual_proj",
            "transforms.text": f"{ATTENTION}.textual_proj",
            "attention.out_proj": f"{ATTENTION}.attention.out_proj",
        }.items()
    },
}
TERMS = {"bpr": ("bpr", 1.0)}


def make(case) -> CRANEReleased:
    """With the recorded parameters and the recorded choice of edges."""
    hparams = case.hparams
    image = hparams["mm_image_weight"]
    backbone = case.build(
        CRANEReleased,
        "image",
        "text",
        graph=GraphOptions(knn_k=hparams["knn_k"]),
        dim=hparams["embedding_size"],
        n_heads=hparams["n_heads"],
        n_layers=hparams["n_ui_layers"],
        n_item_layers=hparams["n_mm_layers"],
        dropout=hparams["dropout"],
        modality_weights={"image": image, "text": 1 - image},
    )
    case.fill(backbone, PARAMETERS)
    if "graph/kept_edges" in case:
        backbone.propagation.keep(case["graph/kept_edges"])
    return backbone


def test_losses_gradients_scores_and_a_second_step_equal_the_released_code(case) -> None:
    backbone = make(case)
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, TERMS)
    case.check_second_step(backbone, PARAMETERS, TERMS)


def test_the_graphs_equal_the_released_code(case) -> None:
    backbone = make(case)
    case.check_item_graph(backbone.item_graphs, "mm")
    case.check_user_item_graph(backbone.propagation.pruned.to_user, "masked")
    case.check_user_item_graph(backbone.propagation.full.to_user)
