"""SMORE against the published code's numbers, with its dropout masks recorded."""

from __future__ import annotations

from itertools import cycle

import pytest
import torch
from torch import Tensor

from crossalign.graphs import GraphOptions
from crossalign.graphs.sparse_pattern import SparsePattern
from crossalign.models.smore import SMORE, spectrum

PARAMETERS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
    "fused_gate.filter": "fusion_complex_weight",
    **{f"fused_gate.gate.{kind}": f"gate_f.0.{kind}" for kind in ("weight", "bias")},
    **{f"fused_gate.preference.{k}": f"gate_fusion_prefer.0.{k}" for k in ("weight", "bias")},
}
for name, letter in {"image": "v", "text": "t"}.items():
    PARAMETERS |= {
        f"features.{name}": f"{name}_embedding.weight",
        f"gates.{name}.filter": f"{name}_complex_weight",
        f"queries.{name}.2.weight": f"query_{letter}.2.weight",
    }
    for kind in ("weight", "bias"):
        PARAMETERS |= {
            f"projectors.{name}.{kind}": f"{name}_trs.{kind}",
            f"gates.{name}.gate.{kind}": f"gate_{letter}.0.{kind}",
            f"gates.{name}.preference.{kind}": f"gate_{name}_prefer.0.{kind}",
            f"queries.{name}.0.{kind}": f"query_{letter}.0.{kind}",
        }


class Replayed(SMORE):
    """With recorded dropout masks."""

    case = None

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.turns = cycle(("image", "text", "fusion"))

    def dropped(self, preferences: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return preferences
        return preferences * self.case[f"draw/keep_{next(self.turns)}"] / (1 - self.dropout)


def replayed(case) -> SMORE:
    hparams = case.hparams
    neighbors = {name: hparams[f"{name}_knn_k"] for name in ("image", "text")}
    backbone = case.build(
        Replayed,
        "image",
        "text",
        graph=GraphOptions(knn_k=max(neighbors.values())),
        dim=hparams["embedding_size"],
        n_layers=hparams["n_ui_layers"],
        n_item_layers=hparams["n_layers"],
        n_neighbors=neighbors,
        dropout=hparams["dropout_rate"],
        cl_weight=hparams["cl_loss"],
        temperature=hparams["temperature"],
        reg_weight=hparams["reg_weight"],
        reg_batch_size=hparams["configured_batch_size"],
        trainable_features=True,
    )
    backbone.case = case
    case.fill(backbone, PARAMETERS)
    return backbone


@pytest.mark.golden("hosts", "smore")
def test_losses_gradients_tables_and_a_second_step_equal_the_released_code(case) -> None:
    backbone, weight = replayed(case), case.hparams["cl_loss"]
    terms = {
        "bpr": ("bpr", 1.0),
        "reg": ("weighted_l2", 1.0),
        "cl_user": ("cl_user", weight),
        "cl_item": ("cl_item", weight),
    }
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, terms)
    for gate in (*backbone.gates.values(), backbone.fused_gate):
        imaginary = gate.filter.grad[0, :, 1]
        assert imaginary[0] == 0
        assert backbone.representation_dim % 2 or imaginary[-1] == 0
    case.check_second_step(backbone, PARAMETERS, terms)


@pytest.mark.golden("hosts", "smore")
def test_views_and_filtered_content_equal_the_released_code(case) -> None:
    backbone = replayed(case).eval()
    with torch.no_grad():
        backbone()
        contents = [layer(backbone.features[m]) for m, layer in backbone.projectors.items()]
    for kind, view in zip(("content", "side"), backbone.last.read(), strict=True):
        case.equals(view.user, f"{kind}_user_repr")
        case.equals(view.item, f"{kind}_item_repr")
    spectra = [spectrum(content) for content in contents]
    for name, content, signal in zip(("image", "text"), contents, spectra, strict=True):
        case.equals(content, f"content_item_{name}")
        case.equals(backbone.gates[name].filtered(signal), f"filtered_item_{name}")
    together = backbone._product(spectra)
    case.equals(backbone.fused_gate.filtered(together), "filtered_item_fusion")


def dense(pattern: SparsePattern, values: Tensor) -> Tensor:
    return pattern(values, torch.eye(pattern.n_cols, dtype=values.dtype))


@pytest.mark.golden("hosts", "smore")
def test_item_graphs_equal_the_released_code(case) -> None:
    backbone = replayed(case)
    graphs = {**backbone.item_graphs, "fusion": backbone.fused_graph}
    for name, graph in graphs.items():
        at = torch.stack([case[f"graph/{name}_row"], case[f"graph/{name}_col"]])
        shape = 2 * (int(case["n_items"]),)
        expected = torch.sparse_coo_tensor(
            at, case[f"graph/{name}_val"], shape, check_invariants=True
        ).to_dense()
        found = dense(graph.pattern, graph.values)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
