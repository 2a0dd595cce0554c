"""The published BPR, LightGCN, VBPR and FREEDOM are reproduced in float64."""

from __future__ import annotations

import json

import pytest

from crossalign.models import BACKBONES

# Our parameter name -> name in the published code.
PARAMETERS = {
    "bpr": {
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_embedding.weight",
    },
    "lightgcn": {
        "user_embedding": "embedding_dict.user_emb",
        "item_embedding": "embedding_dict.item_emb",
    },
    "vbpr": {
        "user_embedding": "u_embedding",
        "item_embedding": "i_embedding",
        "projector.weight": "item_linear.weight",
        "projector.bias": "item_linear.bias",
    },
    "freedom": {
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_id_embedding.weight",
        "features.image": "image_embedding.weight",
        "features.text": "text_embedding.weight",
        "projectors.image.weight": "image_trs.weight",
        "projectors.image.bias": "image_trs.bias",
        "projectors.text.weight": "text_trs.weight",
        "projectors.text.bias": "text_trs.bias",
    },
}
OPTIONS = {
    "bpr": {"reg_weight": 0.1},
    "lightgcn": {"n_layers": 2, "reg_weight": 0.05},
    "vbpr": {"reg_weight": 0.2},
    "freedom": {
        "n_layers": 2,
        "dropout": 0.0,
        "reg_weight": 0.1,
        "modality_weights": {"image": 0.1, "text": 0.9},
        "trainable_features": True,
    },
}
# Our term -> name and weight in the published loss.
TERMS = {
    "bpr": {"bpr": ("bpr", 1.0), "reg": ("emb_reg", 0.1)},
    "lightgcn": {"bpr": ("bpr", 1.0), "reg": ("emb_reg", 0.05)},
    "vbpr": {"bpr": ("bpr", 1.0), "reg": ("emb_reg", 0.2)},
    "freedom": {
        "bpr": ("bpr", 1.0),
        "bpr_image": ("bpr_image", 0.1),
        "bpr_text": ("bpr_text", 0.1),
    },
}


@pytest.fixture
def make(golden_data, build):
    """`make(name, numbers)`: the backbone with the recorded parameters."""

    def make(name, numbers):
        # The published VBPR concatenates text before image.
        data = golden_data("text", "image")
        backbone = build(BACKBONES[name].cls, data, dim=16, **OPTIONS[name])
        numbers.fill(backbone, PARAMETERS[name])
        return backbone

    return make


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_loss_gradients_and_scores_equal_the_published_code(name: str, golden, make) -> None:
    numbers = golden(name)
    backbone = make(name, numbers)
    numbers.check_step(backbone, PARAMETERS[name], TERMS[name])
    numbers.check_representations(backbone)


def test_freedom_trains_on_the_pruned_graph_and_scores_on_the_full_one(golden, make) -> None:
    numbers = golden("freedom_drop")
    backbone = make("freedom", numbers)
    backbone.propagation.keep(numbers["graph/kept_edges"])
    numbers.check_step(backbone, PARAMETERS["freedom"], TERMS["freedom"])
    numbers.check_representations(backbone)


def test_freedom_keeps_the_published_number_of_edges(golden) -> None:
    numbers = golden("freedom_drop")
    dropout = json.loads(str(numbers.arrays["hparams"]))["dropout"]
    assert int(329 * (1 - dropout)) == len(numbers["graph/kept_edges"])
