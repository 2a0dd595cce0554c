"""DualGNN against the published code's numbers, and against plain dense formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models.dualgnn import DualGNN

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


@pytest.fixture
def dataset(golden_data) -> Dataset:
    return golden_data("image", "text")


@pytest.fixture
def make(build):
    """`make(dataset, **options)`, on a user graph that lists everybody."""
    return lambda dataset, **options: build(DualGNN, dataset, GraphOptions(cooccur_k=60), **options)


def count_matrix(dataset: Dataset) -> torch.Tensor:
    """Common items of every two users, `(n_users, n_users)`; 0 on the diagonal."""
    users, items = dataset.train
    matrix = torch.zeros(dataset.n_users, dataset.n_items, dtype=torch.float64)
    matrix[users, items] = 1
    return (matrix @ matrix.T).fill_diagonal_(0)


def build_published(case, **options: object) -> DualGNN:
    """On a user graph that lists everybody; the widths are those of the recorded parameters."""
    graph = GraphOptions(cooccur_k=int(case["n_users"]))
    hidden, _ = case["param/v_gcn.MLP.weight"].shape
    dim = case.hparams["embedding_size"]
    return case.build(
        DualGNN, "image", "text", graph=graph, dim=dim, hidden_dim=hidden, parity=True, **options
    )


@pytest.mark.golden("backbones", "dualgnn")
def test_loss_gradients_and_scores_equal_the_published_code(case) -> None:
    weight = case.hparams["reg_weight"]
    n_neighbors = case.hparams["user_neighbours"]
    backbone = build_published(case, reg_weight=weight, n_neighbors=n_neighbors)
    case.fill(backbone, PARAMETERS)
    drawn = case["graph/uu_sampled"]
    counts = count_matrix(case.data()).gather(1, drawn)
    lonely = counts.sum(1) == 0
    drawn[lonely] = -1
    backbone.use_neighbors(drawn, counts)
    expected = case["graph/uu_weights"][~lonely].flatten()
    torch.testing.assert_close(backbone.neighbor_weights, expected, rtol=RTOL, atol=ATOL)
    terms = {
        "bpr": ("bpr_log2", 1.0),
        "preference_image": ("pref_image_reg", weight),
        "preference_text": ("pref_text_reg", weight),
        "user_weights": ("weight_u_reg", weight),
        "item_weights": ("weight_i_reg", weight),
    }
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, terms)


@pytest.mark.golden("backbones", "dualgnn")
def test_neighbours_are_the_published_ones(case) -> None:
    """Equal counts may be ordered differently, so the sorted counts are compared."""
    n_users = int(case["n_users"])
    backbone = build_published(case, n_neighbors=n_users - 1)
    counts, indptr = case["graph/uu_counts"], case["graph/uu_indptr"]
    for user in range(n_users):
        there = backbone.neighbors[user] >= 0
        mine = slice(indptr[user], indptr[user + 1])
        assert backbone.counts[user][there].tolist() == counts[mine].tolist()
        listed = case["graph/uu_indices"][mine]
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
def test_default_with_three_modalities_equals_dense_formulas(golden_data, make, k: int) -> None:
    dataset = golden_data("text", "audio", "image")
    backbone = make(dataset, dim=8, hidden_dim=12, n_neighbors=k)
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


def test_parity_repeats_neighbours_of_ones_own_anew_each_epoch(make, dataset: Dataset) -> None:
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
