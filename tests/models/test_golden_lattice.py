"""LATTICE against the published code's numbers, and against plain dense formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import Batch, sparse_graph
from crossalign.models.lattice import LATTICE
from crossalign.models.sparse_graph import SparsePattern

GOLDEN = Path(__file__).parents[1] / "golden" / "backbones"
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
OPTIONS = {"dim": 16, "reg_weight": 0.02, "reg_batch_size": 40, "trainable_features": True}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load("lattice")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    data = load("dataset")
    noise = torch.randn(int(data["n_items"]), 7, generator=torch.Generator().manual_seed(0))
    noise[::9] = 0
    features = {m: torch.from_numpy(data[f"{m}_features"]) for m in ("image", "text")}
    splits = {s: torch.from_numpy(data[s].T.copy()) for s in ("train", "valid", "test")}
    return Dataset(
        "golden",
        int(data["n_users"]),
        int(data["n_items"]),
        **splits,
        features={**features, "sound": noise},
        missing={"sound": torch.arange(int(data["n_items"])) % 9 == 0},
    )


def make(
    dataset: Dataset, names: tuple[str, ...] = ("image", "text"), **options: object
) -> LATTICE:
    graph = build_graph(dataset, GraphOptions(), relations=LATTICE.relations)
    torch.manual_seed(0)
    features = {name: dataset.features[name].double() for name in names}
    return LATTICE(graph, features, **options).double()


@pytest.fixture
def published(dataset: Dataset, golden: dict[str, np.ndarray]) -> LATTICE:
    backbone = make(dataset, **OPTIONS)
    assert set(dict(backbone.named_parameters())) == set(PARAMETERS)
    with torch.no_grad():
        for ours, theirs in PARAMETERS.items():
            backbone.get_parameter(ours).copy_(torch.from_numpy(golden[f"param/{theirs}"]))
    return backbone


def batch_of(golden: dict[str, np.ndarray]) -> Batch:
    return Batch(*(torch.from_numpy(golden[f"batch_{k}"]) for k in ("users", "pos", "neg")))


def to_dense(pattern: SparsePattern, values: torch.Tensor, n: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(
        torch.stack([pattern.rows, pattern.cols]), values, (n, n), check_invariants=True
    ).to_dense()


def test_loss_gradients_and_scores_equal_the_published_code(
    published: LATTICE, golden: dict[str, np.ndarray]
) -> None:
    published.begin_epoch(torch.Generator())
    batch = batch_of(golden)
    terms = published.loss(batch, published())
    sum(terms.values()).backward()
    np.testing.assert_allclose(terms["bpr"].item(), golden["loss/bpr"], rtol=RTOL)
    np.testing.assert_allclose(terms["reg"].item(), golden["loss/weighted_l2"], rtol=RTOL)
    np.testing.assert_allclose(sum(terms.values()).item(), golden["loss/total"], rtol=RTOL)
    for ours, theirs in PARAMETERS.items():
        gradient = published.get_parameter(ours).grad
        np.testing.assert_allclose(
            gradient, golden[f"grad/{theirs}"], rtol=RTOL, atol=ATOL, err_msg=ours
        )
    published.zero_grad(set_to_none=True)
    second = sum(published.loss(batch, published()).values())
    second.backward()
    np.testing.assert_allclose(second.item(), golden["second/loss/total"], rtol=RTOL)
    for ours, theirs in PARAMETERS.items():
        gradient, key = published.get_parameter(ours).grad, f"second/grad/{theirs}"
        assert (gradient is None) == (key not in golden)
        if gradient is not None:
            np.testing.assert_allclose(gradient, golden[key], rtol=RTOL, atol=ATOL, err_msg=ours)
    published.eval()
    user, item = (table.detach() for table in published())
    np.testing.assert_allclose(user @ item.T, golden["scores"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(user, golden["user_repr"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(item, golden["item_repr"], rtol=RTOL, atol=ATOL)


def test_graphs_equal_the_published_code(published: LATTICE, golden: dict[str, np.ndarray]) -> None:
    n_items = int(golden["n_items"])
    for name, original in published.originals.items():
        found = to_dense(original, original.values, n_items)
        np.testing.assert_allclose(found, golden[f"graph/{name}_adj"], rtol=RTOL, atol=ATOL)
    with torch.no_grad():
        found = to_dense(*published.item_graph(), n_items)
    np.testing.assert_allclose(found, golden["graph/item_adj"], rtol=RTOL, atol=ATOL)


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
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_graph, "CHUNK", 100)  # several blocks
    names = ("sound", "text", "image")
    options = {"dim": 8, "n_layers": 3, "n_item_layers": 2, "original_share": 0.6}
    backbone = make(dataset, names, n_neighbors=6, **options)
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
