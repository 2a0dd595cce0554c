"""LATTICE against the published code's numbers, and against plain dense formulas."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions
from crossalign.graphs import sparse_pattern as weighted
from crossalign.graphs.sparse_pattern import SparsePattern
from crossalign.models.lattice import LATTICE

RTOL, ATOL = 1e-9, 1e-12
PARAMETERS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
    "modal_weight": "modal_weight",
    "features.image": "image_embedding.weight",
    "features.text": "text_embedding.weight",
    "projectors.image.weight": "image_trs.weight",
    "projectors.image.bias": "image_trs.bias",
    "projectors.text.weight": "text_trs.weight",
    "projectors.text.bias": "text_trs.bias",
}


@pytest.fixture
def published(case) -> LATTICE:
    """With the recorded parameters."""
    hparams = case.hparams
    backbone = case.build(
        LATTICE,
        "image",
        "text",
        graph=GraphOptions(knn_k=hparams["knn_k"]),
        dim=hparams["embedding_size"],
        n_layers=hparams["n_ui_layers"],
        n_item_layers=hparams["n_layers"],
        n_neighbors=hparams["knn_k"],
        original_share=hparams["lambda_coeff"],
        reg_weight=hparams["reg_weight"],
        reg_batch_size=hparams["configured_batch_size"],
        trainable_features=True,
    )
    case.fill(backbone, PARAMETERS)
    return backbone


def to_dense(pattern: SparsePattern, values: torch.Tensor, n: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(
        torch.stack([pattern.rows, pattern.cols]), values, (n, n), check_invariants=True
    ).to_dense()


@pytest.mark.golden("backbones", "lattice")
def test_loss_gradients_and_scores_equal_the_published_code(case, published: LATTICE) -> None:
    """The first batch of an epoch and, with the same parameters, a later one."""
    published.begin_epoch(torch.Generator())
    weighted = float(case.hparams["reg_weight"] > 0)
    terms = {"bpr": ("bpr", 1.0), "reg": ("weighted_l2", weighted)}
    case.check_step(published, PARAMETERS, terms)
    published.zero_grad(set_to_none=True)
    second = sum(published.loss(case.batch, published()).values())
    second.backward()
    case.equals(second, "second/loss/total")
    case.check_gradients(published, PARAMETERS, prefix="second/")
    case.check_representations(published)


@pytest.mark.golden("backbones", "lattice")
def test_graphs_equal_the_published_code(case, published: LATTICE) -> None:
    n_items = int(case["n_items"])
    for name, original in published.originals.items():
        case.equals(to_dense(original.pattern, original.values, n_items), f"graph/{name}_adj")
    with torch.no_grad():
        case.equals(to_dense(*published.item_graph(), n_items), "graph/item_adj")


def dense_item_graph(backbone: LATTICE, dataset: Dataset, share: float, k: int) -> torch.Tensor:
    """The item graph by dense matrices."""

    def normalised(matrix: torch.Tensor) -> torch.Tensor:
        scale = torch.diag(matrix.sum(1).clamp(min=1e-200).rsqrt())
        return scale @ matrix @ scale

    def nearest(table: torch.Tensor, k: int, missing: torch.Tensor) -> torch.Tensor:
        unit = normalize(table) * ~missing[:, None]
        cosine = unit @ unit.T
        ranked = cosine.masked_fill(missing[None, :], -2).detach()
        kept = torch.zeros_like(ranked).scatter_(1, ranked.topk(k).indices, 1)
        return cosine * kept

    weights, total, learned = backbone.modal_weight.softmax(0), 0, 0
    for weight, name in zip(weights, backbone.projectors, strict=True):
        raw = dataset.features[name].double()
        missing = dataset.missing.get(name, torch.zeros(len(raw), dtype=torch.bool))
        layer = backbone.projectors[name]
        total = total + weight * normalised(nearest(raw, 10, missing))
        content = raw @ layer.weight.T + layer.bias
        learned = learned + weight * nearest(content, k, missing)
    return share * total + (1 - share) * normalised(learned)


def test_three_modalities_and_other_options_equal_dense_formulas(
    golden_data, build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighted, "BLOCK", 100)  # several blocks
    dataset = golden_data("audio", "text", "image")
    missing = torch.arange(dataset.n_items) % 9 == 0
    audio = dataset.features["audio"].masked_fill(missing[:, None], 0)
    features = {**dataset.features, "audio": audio}
    dataset = replace(dataset, features=features, missing={"audio": missing})
    options = {"dim": 8, "n_layers": 3, "n_item_layers": 2, "original_share": 0.6}
    backbone = build(LATTICE, dataset, n_neighbors=6, **options)
    with torch.no_grad():
        backbone.modal_weight.add_(torch.tensor([0.3, -0.2, 0.7]))
    n_users, n_items = dataset.n_users, dataset.n_items
    users, items = dataset.train
    matrix = torch.eye(n_users + n_items, dtype=torch.float64)
    matrix[users, items + n_users] = matrix[items + n_users, users] = 1
    matrix = matrix / matrix.sum(1, keepdim=True)
    x = torch.cat([backbone.user_embedding, backbone.item_embedding])
    mean = (x + matrix @ x + matrix @ matrix @ x + matrix @ matrix @ matrix @ x) / 4
    graph = dense_item_graph(backbone, dataset, share=0.6, k=6)
    content = normalize(graph @ (graph @ backbone.item_embedding))
    expected = mean[:n_users], mean[n_users:] + content
    weight_of_user, weight_of_item = torch.randn_like(expected[0]), torch.randn_like(expected[1])
    results = []
    for user, item in (backbone(), expected):
        score = (user * weight_of_user).sum() + (item * weight_of_item).sum()
        gradients = torch.autograd.grad(score, list(backbone.parameters()))
        results.append([user, item, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=RTOL, atol=ATOL)
