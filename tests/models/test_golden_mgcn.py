"""MGCN against the released code's numbers."""

from __future__ import annotations

import pytest
import torch

from crossalign.graphs import GraphOptions
from crossalign.models.mgcn import MGCN

PARAMETERS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
    "query.0.weight": "query_common.0.weight",
    "query.0.bias": "query_common.0.bias",
    "query.2.weight": "query_common.2.weight",
}
for name, letter in (("image", "v"), ("text", "t")):
    PARAMETERS[f"features.{name}"] = f"{name}_embedding.weight"
    for kind in ("weight", "bias"):
        PARAMETERS |= {
            f"projectors.{name}.{kind}": f"{name}_trs.{kind}",
            f"content_gates.{name}.{kind}": f"gate_{letter}.0.{kind}",
            f"behaviour_gates.{name}.{kind}": f"gate_{name}_prefer.0.{kind}",
        }


@pytest.mark.golden("hosts", "mgcn")
def test_graphs_losses_gradients_scores_and_a_second_step_equal_the_released_code(case) -> None:
    hparams = case.hparams
    backbone = case.build(
        MGCN,
        "image",
        "text",
        graph=GraphOptions(knn_k=hparams["knn_k"]),
        dim=hparams["embedding_size"],
        n_layers=hparams["n_ui_layers"],
        n_item_layers=hparams["n_layers"],
        cl_weight=hparams["cl_loss"],
        temperature=hparams["cl_temperature"],
        reg_weight=hparams["reg_weight"],
        reg_batch_size=hparams["configured_batch_size"],
        trainable_features=True,
    )
    case.fill(backbone, PARAMETERS)
    terms = {
        "bpr": ("bpr", 1.0),
        "reg": ("weighted_l2", 1.0),
        "cl_user": ("cl_user", hparams["cl_loss"]),
        "cl_item": ("cl_item", hparams["cl_loss"]),
    }
    case.check_user_item_graph(backbone.propagation.to_user)
    every = torch.arange(int(case["n_items"]))
    for name, table in backbone.modalities().items():
        case.check_item_graph(backbone.item_graphs[name], f"mm_{name}")
        case.equals(table[every], f"projected_{name}")
    case.check_representations(backbone)
    ids, content = backbone.last.read()
    for view, prefix in ((ids, "id"), (content, "content")):
        case.equals(view.user, f"{prefix}_user_repr")
        case.equals(view.item, f"{prefix}_item_repr")
    case.check_step(backbone, PARAMETERS, terms)
    case.check_second_step(backbone, PARAMETERS, terms)
