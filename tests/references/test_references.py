"""Every reference line against its definition, written as loops."""

from __future__ import annotations

import inspect
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from crossalign.errors import ConfigError
from crossalign.evaluation import Evaluator
from crossalign.evaluation.scores import block_scorer
from crossalign.models import Representations
from crossalign.references import (
    EASE,
    GFCF,
    REFERENCES,
    ContentEASE,
    ContentKNN,
    ItemKNN,
    Popularity,
    ease,
)
from crossalign.references.ease import ease_weights
from crossalign.references.ials import IALS
from crossalign.references.inputs import history_matrix
from crossalign.references.low_pass import low_pass
from crossalign.studies.reference_rows import parse_names


def score_table(scores) -> np.ndarray:
    """All scores, `(n_users, n_items)`."""
    scorer = block_scorer(scores)
    out = torch.empty(scorer.n_users, scorer.n_items, dtype=scorer.dtype)
    scorer(torch.arange(scorer.n_users), out)
    return out.numpy()


def histories(dataset) -> list[set[int]]:
    sets: list[set[int]] = [set() for _ in range(dataset.n_users)]
    for user, item in dataset.train.T.tolist():
        sets[user].add(item)
    return sets


def neighbour_scores(dataset, similarity: np.ndarray, k: int) -> np.ndarray:
    """Sum over the history of the similarity to each of its k nearest items."""
    table = np.zeros((dataset.n_users, dataset.n_items))
    for user, history in enumerate(histories(dataset)):
        for item in history:
            for near in np.argsort(-similarity[item], kind="stable")[:k]:
                table[user, near] += similarity[item, near]
    return table


def test_popularity_counts_training_interactions(planted):
    counts = np.zeros(planted.n_items)
    for item in planted.train[1].tolist():
        counts[item] += 1
    table = score_table(Popularity(planted).scores())
    assert (table == counts).all()


@pytest.mark.parametrize(("k", "shrink"), [(5, 0.0), (20, 10.0), (500, 3.0)])
def test_itemknn_is_the_loop(k, shrink, planted):
    users_of: list[set[int]] = [set() for _ in range(planted.n_items)]
    for user, item in planted.train.T.tolist():
        users_of[item].add(user)
    similarity = np.zeros((planted.n_items, planted.n_items))
    for i, ours in enumerate(users_of):
        for j, theirs in enumerate(users_of):
            if i != j and ours and theirs:
                norm = math.sqrt(len(ours) * len(theirs)) + shrink
                similarity[i, j] = len(ours & theirs) / norm
    # single precision, as there, so that equal similarities are equal
    expected = neighbour_scores(planted, similarity.astype(np.float32), k)
    found = score_table(ItemKNN(planted, k=k, shrink=shrink).scores())
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("modality", ["image", "text", "all"])
def test_contentknn_is_the_loop(modality, planted):
    names = planted.modalities if modality == "all" else [modality]
    tables = [planted.features[name].double().numpy() for name in names]
    rows = np.concatenate([t / np.linalg.norm(t, axis=1, keepdims=True) for t in tables], axis=1)
    similarity = (rows @ rows.T) / len(names)
    expected = neighbour_scores(planted, similarity, 10)
    found = score_table(ContentKNN(planted, modality=modality, k=10).scores())
    assert found == pytest.approx(expected, abs=1e-4)


def test_contentknn_names_the_nearest_modality(planted):
    with pytest.raises(ConfigError, match="did you mean 'image'"):
        ContentKNN(planted, modality="imgae")


def test_ials_solves_the_weighted_least_squares(planted):
    """The items' normal equations hold: the last half step solves them for the users at hand."""
    model = IALS(planted, dim=8, confidence=5.0, regularization=2.0, iterations=60)
    user, item = (factors.double().numpy() for factors in model.scores())
    chosen = np.zeros((planted.n_users, planted.n_items))
    chosen[planted.train[0], planted.train[1]] = 1.0
    for index in range(planted.n_items):
        weight = np.where(chosen[:, index] > 0, 5.0, 1.0)
        left = (user.T * weight) @ user + 2.0 * np.eye(8)
        solved = np.linalg.solve(left, user.T @ (weight * chosen[:, index]))
        assert item[index] == pytest.approx(solved, abs=2e-3)


def test_ials_depends_on_its_seed_alone(planted):
    first = IALS(planted, iterations=2)
    assert torch.equal(first.scores().user, first.scores().user)
    assert torch.equal(first.scores().user, IALS(planted, iterations=2).scores().user)
    assert not torch.equal(first.scores().user, IALS(planted, iterations=2, seed=1).scores().user)


@pytest.mark.parametrize("name", ["itemknn", "ials"])
def test_methods_that_learn_from_users_find_two_camps(name, planted):
    """Users of one half of the items never saw the other; held-out items are of their half."""
    pairs = [(u, i) for u in range(40) for i in range(20) if u % 2 == i % 2]
    held_out = [(u, (u + 2 * s) % 20) for s in (0, 1) for u in range(40)]
    train = torch.tensor([p for p in pairs if p not in held_out]).T
    valid, test = torch.tensor(held_out[:40]).T, torch.tensor(held_out[40:]).T
    camps = replace(
        planted, n_users=40, n_items=20, train=train, valid=valid, test=test,
        features={}, missing={}, item_graphs={}, truth=None,
    )  # fmt: skip
    metrics = Evaluator(camps, "test", [2])(REFERENCES[name].cls(camps).scores())
    assert metrics["recall@2"] == 1.0


@pytest.mark.parametrize("name", REFERENCES.names())
def test_every_option_is_documented_and_every_grid_point_is_valid(name, planted):
    entry = REFERENCES[name]
    assert all(option.help for option in entry.options().values())
    points = entry.cls.grid(planted)
    assert len(points) == len({tuple(point.items()) for point in points})
    for point in points:
        assert set(point) <= set(entry.options())
        entry.cls(planted, **point)
    assert inspect.getdoc(entry.cls)


@pytest.mark.parametrize("name", REFERENCES.names())
def test_every_reference_scores_all_items_finitely_without_warnings(name, planted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = REFERENCES[name].cls(planted).scores()
    table = score_table(scores)
    assert table.shape == (planted.n_users, planted.n_items)
    assert np.isfinite(table).all()
    assert isinstance(scores, Representations) or scores.dtype == torch.float32


def test_names_are_parsed_and_mistakes_refused():
    assert parse_names("itemknn, popularity,itemknn") == ["itemknn", "popularity"]
    assert parse_names("all") == REFERENCES.names()
    with pytest.raises(ConfigError, match="did you mean 'itemknn'"):
        parse_names("itemnn")


@pytest.mark.parametrize("content_weight", [None, 30.0])
def test_ease_is_its_closed_form(content_weight, planted):
    """`B = I - P diag(P)^-1` of the Gram matrix, content in it or not, by a dense inverse."""
    history = history_matrix(planted).toarray().astype(np.float64)
    gram = history.T @ history + 120 * np.eye(planted.n_items)
    if content_weight is None:
        found = EASE(planted, ridge=120.0)
    else:
        name = planted.modalities[0]
        rows = planted.features[name].double().numpy()
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        gram += content_weight * rows @ rows.T
        found = ContentEASE(planted, ridge=120.0, modality=name, content_weight=content_weight)
    inverse = np.linalg.inv(gram)
    weights = np.eye(planted.n_items) - inverse / np.diag(inverse)
    np.testing.assert_allclose(score_table(found.scores()), history @ weights, atol=1e-4)


def test_ease_is_made_in_blocks_and_refused_beyond_its_memory(planted, monkeypatch):
    """Blocks of rows of any size give the same square; one that is too large is refused."""
    history = history_matrix(planted)
    whole = ease_weights(history, 50.0)
    monkeypatch.setattr(ease, "BLOCK_BYTES", 4 * planted.n_items * 7)
    np.testing.assert_array_equal(ease_weights(history, 50.0), whole)
    wide = sp.csr_matrix((3, 1000), dtype=np.float32)
    with pytest.raises(ConfigError, match="EASE needs 3 MiB for the square of 1000 items"):
        ease_weights(wide, 50.0, memory_mib=3)
    assert EASE.usable(planted)
    assert not EASE.usable(replace(planted, n_items=40_000, features={}, missing={}, truth=None))


def test_itemknn_with_shared_users_counts_one_over_their_items(planted):
    """A common user with d items adds 1/d to a pair of them."""
    table = np.zeros((planted.n_items, planted.n_items))
    degree = np.zeros(planted.n_items)
    for items in histories(planted):
        for a in items:
            degree[a] += 1
            for b in items - {a}:
                table[a, b] += 1 / len(items)
    cosine = table / np.sqrt(np.maximum(np.outer(degree, degree), 1))
    found = ItemKNN(planted, k=planted.n_items, shrink=0.0, shared=True).scores()
    expected = neighbour_scores(planted, cosine, planted.n_items)
    np.testing.assert_allclose(score_table(found), expected, atol=1e-5)


def test_gfcf_is_its_two_filters(planted):
    """`x (R'R + alpha D^-1/2 V V' D^1/2)` by a dense singular value decomposition."""
    history = history_matrix(planted).toarray().astype(np.float64)
    users = np.maximum(history.sum(1), 1)[:, None] ** -0.5
    items = np.maximum(history.sum(0), 1)[None] ** 0.5
    normalised = users * history / items
    leading = np.linalg.svd(normalised)[2][:12]
    ideal = (leading / items).T @ (leading * items)
    expected = history @ (normalised.T @ normalised + 0.7 * ideal)
    found = score_table(GFCF(planted, rank=12, alpha=0.7).scores())
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("n_users", "n_items"), [(1, 5), (2, 3), (6, 2)])
def test_gfcf_of_a_few_rows_lets_fewer_signals_pass(n_users, n_items):
    history = sp.csr_matrix(np.eye(n_users, n_items, dtype=np.float32))
    filters = low_pass(history, 256)
    assert filters.left.shape == filters.right.shape == (min(n_users, n_items) - 1, n_items)
    assert np.isfinite(filters.left).all()
