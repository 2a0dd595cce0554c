"""Every kind of evidence against its definition, written as loops or as dense algebra."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from crossalign.errors import ConfigError
from crossalign.evidence import EVIDENCE, EvidenceOptions
from crossalign.evidence import pairs as module
from crossalign.evidence.kinds import (
    evidence_lists,
    parse_kinds,
    possible_kinds,
    require_possible,
)
from crossalign.evidence.pairs import allocation_lists, cosine_lists, largest_of_square


def histories(dataset) -> list[set[int]]:
    sets: list[set[int]] = [set() for _ in range(dataset.n_users)]
    for user, item in dataset.train.T.tolist():
        sets[user].add(item)
    return sets


def pair_table(dataset, *, shared: bool) -> np.ndarray:
    """Cosine of the users of two items, each user whole or shared among its items."""
    table = np.zeros((dataset.n_items, dataset.n_items))
    degree: Counter[int] = Counter()
    for items in histories(dataset):
        degree.update(items)
        for a in items:
            for b in items - {a}:
                table[a, b] += 1 / len(items) if shared else 1
    for a in range(dataset.n_items):
        for b in range(dataset.n_items):
            table[a, b] /= math.sqrt(max(degree[a], 1) * max(degree[b], 1))
    return table


@pytest.mark.parametrize("shared", [False, True])
def test_pairs_are_the_loop(shared, planted):
    """All pairs: `c_ij / sqrt(d_i d_j)`, users counted whole or one over their items."""
    make = allocation_lists if shared else cosine_lists
    lists = make(planted.train, planted.n_users, planted.n_items, planted.n_items)
    np.testing.assert_allclose(lists.toarray(), pair_table(planted, shared=shared), atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_each_item_keeps_its_largest_pairs(shared, planted):
    """With fewer entries than pairs, the largest of every row stay, and nothing else."""
    make = allocation_lists if shared else cosine_lists
    lists = make(planted.train, planted.n_users, planted.n_items, 5).toarray()
    table = pair_table(planted, shared=shared)
    assert ((lists > 0).sum(1) <= 5).all()
    for own, row in zip(lists, table, strict=True):
        np.testing.assert_allclose(np.sort(own)[-5:], np.sort(row)[-5:], atol=1e-6)


def test_blocks_of_rows_change_nothing(planted, monkeypatch):
    """Lists are the same whether one block of rows is made or many."""
    whole = allocation_lists(planted.train, planted.n_users, planted.n_items, 7)
    monkeypatch.setattr(module, "BLOCK_BYTES", 4096)
    parts = allocation_lists(planted.train, planted.n_users, planted.n_items, 7)
    np.testing.assert_array_equal(whole.toarray(), parts.toarray())
    square = np.random.default_rng(0).normal(size=(50, 50)).astype(np.float32)
    few = largest_of_square(square, 9)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 20)
    np.testing.assert_array_equal(few.toarray(), largest_of_square(square, 9).toarray())


def test_columns_of_a_square_keep_their_largest_entries():
    """Negative weights count by their size: they say that an item is no candidate."""
    square = np.array([[0, 3, -1], [-5, 0, 2], [1, -4, 0]], dtype=np.float32)
    expected = [[0, 0, 0], [-5, 0, 2], [0, -4, 0]]
    np.testing.assert_array_equal(largest_of_square(square, 1).toarray(), expected)


@pytest.mark.parametrize("kind", EVIDENCE.names())
def test_kinds_read_training_rows_alone(kind, planted):
    """Nothing of validation or test is in any evidence."""
    few = replace(planted, valid=planted.valid[:, :1], test=planted.test[:, :1])
    options = EvidenceOptions(neighbors=10)
    both = [evidence_lists(kind, data, options).toarray() for data in (planted, few)]
    np.testing.assert_array_equal(*both)
    assert (np.diag(both[0]) == 0).all()


def test_content_neighbours_are_cosines(planted):
    """The nearest by the unit rows of all modalities side by side."""
    lists = evidence_lists("contentknn", planted, EvidenceOptions(content_k=4)).toarray()
    rows = torch.cat([torch.nn.functional.normalize(t) for t in planted.features.values()], dim=1)
    cosine = (rows @ rows.T / len(planted.features)).numpy()
    np.fill_diagonal(cosine, -1)
    for own, row in zip(lists, cosine, strict=True):
        near = np.argsort(-row)[:4]
        np.testing.assert_allclose(own[near], row[near], atol=1e-5)
        assert (own > 0).sum() <= 4


def test_sums_are_parsed_and_refused():
    """A kind of a sum that is unknown or stands twice is named."""
    assert parse_kinds("ease + allocation") == ["ease", "allocation"]
    with pytest.raises(ConfigError, match="did you mean 'ease'"):
        parse_kinds("eese")
    with pytest.raises(ConfigError, match="twice"):
        parse_kinds("ease+ease")


def test_what_data_cannot_give_is_refused_before_training(planted):
    """No content, too large a square, an unknown modality: one line each, and none for `auto`."""
    bare = replace(planted, features={}, missing={}, truth=None)
    with pytest.raises(ConfigError, match="'contentknn' needs content"):
        require_possible(bare, EvidenceOptions(kind="ease+contentknn"))
    with pytest.raises(ConfigError, match="unknown modality"):
        require_possible(planted, EvidenceOptions(kind="contentease", modalities=("sound",)))
    assert possible_kinds(bare, EvidenceOptions()) == ["allocation", "cooccurrence", "ease"]
    large = replace(bare, n_items=1000)
    small = EvidenceOptions(kind="ease", memory_mib=3)
    with pytest.raises(ConfigError, match="EASE needs 3 MiB for the square of 1000 items"):
        require_possible(large, small)
    assert "ease" not in possible_kinds(large, small)
