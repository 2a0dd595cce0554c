"""The released DirectAU, with both encoders, is reproduced in float64."""

from __future__ import annotations

import pytest

from crossalign.models.directau import DirectAU

PARAMETERS = {
    "user_embedding": "encoder.user_embedding.weight",
    "item_embedding": "encoder.item_embedding.weight",
}


@pytest.mark.golden("systems", "directau")
def test_losses_gradients_scores_and_a_second_step_equal_the_released_code(case) -> None:
    hparams = case.hparams
    backbone = case.build(
        DirectAU,
        dim=hparams["embedding_size"],
        encoder=hparams["encoder"].lower(),
        n_layers=hparams["n_layers"],
        gamma=hparams["gamma"],
        reg_weight=0.0,  # the weight decay is the optimiser's
    )
    case.fill(backbone, PARAMETERS)
    half = hparams["gamma"] / 2
    terms = {
        "alignment": ("alignment", 1.0),
        "uniformity_user": ("uniformity_user", half),
        "uniformity_item": ("uniformity_item", half),
    }
    if "graph/ui_row" in case:
        case.check_user_item_graph(backbone.propagation.to_user)
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, terms)
    case.check_second_step(backbone, PARAMETERS, terms)
