"""The published implementations' losses, gradients and scores are reproduced in float64."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import BACKBONES, Backbone, Batch

GOLDEN = Path(__file__).parents[1] / "golden" / "backbones"
RTOL, ATOL = 1e-9, 1e-12

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
    "bpr": {"dim": 16, "reg_weight": 0.1},
    "lightgcn": {"dim": 16, "n_layers": 2, "reg_weight": 0.05},
    "vbpr": {"dim": 16, "reg_weight": 0.2},
    "freedom": {
        "dim": 16,
        "n_layers": 2,
        "dropout": 0.0,
        "reg_weight": 0.1,
        "modality_weights": {"image": 0.1, "text": 0.9},
        "trainable_features": True,
    },
}
TERMS = {
    "bpr": {"bpr": "bpr"},
    "lightgcn": {"bpr": "bpr"},
    "vbpr": {"bpr": "bpr"},
    "freedom": {"bpr": "bpr"},
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    data = load("dataset")
    features = {
        # The published VBPR concatenates text before image.
        name: torch.from_numpy(data[f"{name}_features"])
        for name in ("text", "image")
    }
    splits = {s: torch.from_numpy(data[s].T.copy()) for s in ("train", "valid", "test")}
    return Dataset(
        "golden", int(data["n_users"]), int(data["n_items"]), **splits, features=features
    )


def make(name: str, dataset: Dataset, golden: dict[str, np.ndarray]) -> Backbone:
    graph = build_graph(dataset, GraphOptions(), relations=BACKBONES[name].cls.relations)
    features = {m: table.double() for m, table in dataset.features.items()}
    backbone = BACKBONES[name].cls(graph, features, **OPTIONS[name]).double()
    names = PARAMETERS[name]
    assert set(dict(backbone.named_parameters())) == set(names)
    with torch.no_grad():
        for ours, theirs in names.items():
            backbone.get_parameter(ours).copy_(torch.from_numpy(golden[f"param/{theirs}"]))
    return backbone


def batch_of(golden: dict[str, np.ndarray]) -> Batch:
    return Batch(*(torch.from_numpy(golden[f"batch_{k}"]) for k in ("users", "pos", "neg")))


def check(backbone: Backbone, name: str, golden: dict[str, np.ndarray]) -> None:
    """Loss, every gradient, and evaluation scores against the golden file."""
    backbone.train()
    terms = backbone.loss(batch_of(golden), backbone())
    total = sum(terms.values())
    total.backward()
    np.testing.assert_allclose(total.item(), golden["loss/total"], rtol=RTOL)
    np.testing.assert_allclose(terms["bpr"].item(), golden["loss/bpr"], rtol=RTOL)
    for ours, theirs in PARAMETERS[name].items():
        gradient = backbone.get_parameter(ours).grad
        expected = golden[f"grad/{theirs}"]
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=RTOL, atol=ATOL, err_msg=ours)
    backbone.eval()
    user, item = (table.detach() for table in backbone())
    np.testing.assert_allclose((user @ item.T).numpy(), golden["scores"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(item.numpy(), golden["item_repr"], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_loss_gradients_and_scores_equal_the_published_code(name: str, dataset: Dataset) -> None:
    golden = load(name)
    check(make(name, dataset, golden), name, golden)


def test_freedom_trains_on_the_pruned_graph_and_scores_on_the_full_one(dataset: Dataset) -> None:
    golden = load("freedom_drop")
    backbone = make("freedom", dataset, golden)
    backbone.keep_edges(torch.from_numpy(golden["graph/kept_edges"]))
    check(backbone, "freedom", golden)


def test_freedom_keeps_the_published_number_of_edges(dataset: Dataset) -> None:
    golden = load("freedom_drop")
    expected = len(golden["graph/kept_edges"])
    assert int(329 * (1 - json.loads(str(golden["hparams"]))["dropout"])) == expected
