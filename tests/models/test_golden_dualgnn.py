"""DualGNN against the published code's numbers, and against plain dense formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import Batch
from crossalign.models.dualgnn import DualGNN

GOLDEN = Path(__file__).parents[1] / "golden" / "backbones"
RTOL, ATOL = 1e-9, 1e-12
PARAMETERS = {
    "preferences.image": "v_gcn.preference",
    "preferences.text": "t_gcn.preference",
    "projectors.image.0.weight": "v_gcn.MLP.weight",
    "projectors.image.0.bias": "v_gcn.MLP.bias",
    "projectors.image.2.weight": "v_gcn.MLP_1.weight",
    "projectors.image.2.bias": "v_gcn.MLP_1.bias",
    "projectors.text.0.weight": "t_gcn.MLP.weight",
    "projectors.text.0.bias": "t_gcn.MLP.bias",
    "projectors.text.2.weight": "t_gcn.MLP_1.weight",
    "projectors.text.2.bias": "t_gcn.MLP_1.bias",
    "user_weights": "weight_u",
    "item_weights": "weight_i",
}
TERMS = {
    "preference_image": "pref_image_reg",
    "preference_text": "pref_text_reg",
    "user_weights": "weight_u_reg",
    "item_weights": "weight_i_reg",
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load("dualgnn")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    data = load("dataset")
    features = {m: torch.from_numpy(data[f"{m}_features"]) for m in ("image", "text")}
    splits = {s: torch.from_numpy(data[s].T.copy()) for s in ("train", "valid", "test")}
    return Dataset(
        "golden", int(data["n_users"]), int(data["n_items"]), **splits, features=features
    )


def make(
    dataset: Dataset, names: tuple[str, ...] = ("image", "text"), **options: object
) -> DualGNN:
    graph = build_graph(dataset, GraphOptions(cooccur_k=60), relations=DualGNN.relations)
    noise = torch.Generator().manual_seed(0)
    tables = {**dataset.features, "sound": torch.randn(dataset.n_items, 7, generator=noise)}
    features = {name: tables[name].double() for name in names}
    torch.manual_seed(0)
    return DualGNN(graph, features, **options).double()


def count_matrix(dataset: Dataset) -> torch.Tensor:
    """Common items of every two users, `(n_users, n_users)`; 0 on the diagonal."""
    users, items = dataset.train
    matrix = torch.zeros(dataset.n_users, dataset.n_items, dtype=torch.float64)
    matrix[users, items] = 1
    return (matrix @ matrix.T).fill_diagonal_(0)


def batch_of(golden: dict[str, np.ndarray]) -> Batch:
    return Batch(*(torch.from_numpy(golden[f"batch_{k}"]) for k in ("users", "pos", "neg")))


def test_loss_gradients_and_scores_equal_the_published_code(
    dataset: Dataset, golden: dict[str, np.ndarray]
) -> None:
    backbone = make(dataset, reg_weight=0.1, parity=True)
    assert set(dict(backbone.named_parameters())) == set(PARAMETERS)
    with torch.no_grad():
        for ours, theirs in PARAMETERS.items():
            backbone.get_parameter(ours).copy_(torch.from_numpy(golden[f"param/{theirs}"]))
    drawn = torch.from_numpy(golden["graph/uu_sampled"])
    counts = count_matrix(dataset).gather(1, drawn)
    counts_of_nobody = counts.sum(1) == 0
    drawn[counts_of_nobody] = -1
    backbone.use_neighbors(drawn, counts)
    expected = golden["graph/uu_weights"][~counts_of_nobody.numpy()].ravel()
    np.testing.assert_allclose(backbone.neighbor_weights, expected, rtol=RTOL)

    terms = backbone.loss(batch_of(golden), backbone())
    total = sum(terms.values())
    total.backward()
    np.testing.assert_allclose(total.item(), golden["loss/total"], rtol=RTOL)
    np.testing.assert_allclose(terms.pop("bpr").item(), golden["loss/bpr_log2"], rtol=RTOL)
    assert set(terms) == set(TERMS)
    for ours, theirs in TERMS.items():
        np.testing.assert_allclose(terms[ours].item(), 0.1 * golden[f"loss/{theirs}"], rtol=RTOL)
    for ours, theirs in PARAMETERS.items():
        gradient = backbone.get_parameter(ours).grad
        np.testing.assert_allclose(
            gradient, golden[f"grad/{theirs}"], rtol=RTOL, atol=ATOL, err_msg=ours
        )
    backbone.eval()
    user, item = (table.detach() for table in backbone())
    np.testing.assert_allclose(user @ item.T, golden["scores"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(user, golden["user_repr"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(item, golden["item_repr"], rtol=RTOL, atol=ATOL)


def test_neighbours_are_the_published_ones(dataset: Dataset, golden: dict[str, np.ndarray]) -> None:
    """Equal counts may be ordered differently, so the sorted counts are compared."""
    backbone = make(dataset, n_neighbors=59)
    counts, indptr = golden["graph/uu_counts"], golden["graph/uu_indptr"]
    for user in range(dataset.n_users):
        there = backbone.neighbors[user] >= 0
        expected = counts[indptr[user] : indptr[user + 1]]
        np.testing.assert_array_equal(backbone.counts[user][there], expected)
        listed = golden["graph/uu_indices"][indptr[user] : indptr[user + 1]]
        assert sorted(backbone.neighbors[user][there].tolist()) == sorted(listed.tolist())


def dense(backbone: DualGNN, dataset: Dataset, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Representations of the correct model by dense matrices and loops over the users."""
    n_users, n_items = dataset.n_users, dataset.n_items
    users, items = dataset.train
    matrix = torch.zeros(n_users + n_items, n_users + n_items, dtype=torch.float64)
    matrix[users, items + n_users] = matrix[items + n_users, users] = 1
    scale = matrix.sum(1).clamp(min=1).rsqrt()
    matrix = scale[:, None] * matrix * scale
    parts = []
    for name, (first, _, second) in backbone.projectors.items():
        preference = backbone.preferences[name]
        hidden = backbone.features[name] @ first.weight.T + first.bias
        hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
        x = normalize(torch.cat([preference, hidden @ second.weight.T + second.bias]))
        parts.append(x + matrix @ x + matrix @ (matrix @ x))
    weights = backbone.user_weights
    mixed = sum(weights[:, place] * part[:n_users] for place, part in enumerate(parts))
    counts, rows = count_matrix(dataset), []
    for user in range(n_users):
        # The relation breaks ties of the count by cosine, then by id.
        cosine = counts[user] / torch.bincount(users, minlength=n_users).sqrt()
        ranked = sorted(range(n_users), key=lambda v: (-counts[user, v], -cosine[v], v))
        near = [v for v in ranked[:k] if counts[user, v] > 0]
        share = counts[user, near].softmax(0) if near else counts.new_zeros(0)
        rows.append(mixed[user] + share @ mixed[near])
    return torch.stack(rows), sum(part[n_users:] for part in parts)


@pytest.mark.parametrize("k", [3, 40, 80])
def test_default_with_three_modalities_equals_dense_formulas(dataset: Dataset, k: int) -> None:
    names = ("text", "sound", "image")
    backbone = make(dataset, names, dim=8, hidden_dim=12, n_neighbors=k)
    backbone.begin_epoch(torch.Generator().manual_seed(0))
    weight_of_user = torch.randn(dataset.n_users, 8, dtype=torch.float64)
    weight_of_item = torch.randn(dataset.n_items, 8, dtype=torch.float64)
    results = []
    for user, item in (backbone(), dense(backbone, dataset, k)):
        score = (user * weight_of_user).sum() + (item * weight_of_item).sum()
        gradients = torch.autograd.grad(score, list(backbone.parameters()))
        results.append([user, item, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=RTOL, atol=ATOL)


def test_parity_repeats_neighbours_of_ones_own_anew_each_epoch(dataset: Dataset) -> None:
    backbone = make(dataset, parity=True)
    draws = []
    for seed in (0, 0, 1):
        backbone.begin_epoch(torch.Generator().manual_seed(seed))
        draws.append((backbone.user_pattern.rows, backbone.user_pattern.cols))
    assert torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][1], draws[2][1])
    users, neighbors = draws[0]
    per_user = torch.bincount(users, minlength=dataset.n_users)
    assert set(per_user.tolist()) == {0, 40}
    assert (count_matrix(dataset)[users, neighbors] > 0).all()
    for user in range(dataset.n_users):
        own = backbone.neighbors[user]
        assert set(own[own >= 0].tolist()) == set(neighbors[users == user].tolist())


def test_a_graph_without_the_relation_is_refused(dataset: Dataset) -> None:
    graph = build_graph(dataset)
    with pytest.raises(ConfigError, match="user_cooccurs"):
        DualGNN(graph, dataset.features)
