"""The plain user graph and the plain evaluation give what ours give."""

from __future__ import annotations

import pytest
import torch

from crossalign.benchmarks.plain.evaluation import evaluate
from crossalign.benchmarks.plain.evidence import lists_with_evidence
from crossalign.benchmarks.plain.training import Sampler
from crossalign.benchmarks.plain.user_graph import share_of_pairs, user_graph
from crossalign.evaluation import Evaluator, recommend
from crossalign.evidence import EvidenceOptions, Stage
from crossalign.graphs import cooccurrence_neighbors
from crossalign.models import Representations

K = 5


def test_user_graph_has_the_same_counts(data) -> None:
    """Neighbours themselves may differ where counts tie."""
    found = cooccurrence_neighbors(data.train.flip(0), data.n_items, data.n_users, K)
    plain = user_graph(data.train, data.n_users, K)
    for counts, (_, expected) in zip(found.counts.tolist(), plain, strict=True):
        assert [count for count in counts if count > 0] == expected


def test_a_sample_of_users_has_the_same_rows(data) -> None:
    assert user_graph(data.train, data.n_users, K, [3, 8]) == [
        user_graph(data.train, data.n_users, K)[user] for user in (3, 8)
    ]


def test_all_users_visit_every_unordered_pair_twice(data) -> None:
    assert share_of_pairs(data.n_users, data.n_users) == 2


def test_evaluation_has_the_same_metrics(data) -> None:
    user, item = torch.randn(data.n_users, 6), torch.randn(data.n_items, 6)
    ours = Evaluator(data, "valid")(Representations(user, item))
    plain = evaluate(user, item, data.train, data.valid, (5, 10))
    for name, value in plain.items():
        assert ours[name] == pytest.approx(value, abs=1e-6)


def test_lists_with_evidence_are_the_same(data) -> None:
    model = Representations(torch.randn(data.n_users, 6), torch.randn(data.n_items, 6))
    stage = Stage(model, data, EvidenceOptions(candidates=8))
    users = torch.tensor([3, 8, 20])
    ours, _ = recommend(stage.scorer("cooccurrence", 0.4), users, 5, data.train)
    weights = torch.from_numpy(stage.lists("cooccurrence").toarray()).to(model.user)
    plain = lists_with_evidence(model, data.train, weights, users, weight=0.4, candidates=8, k=5)
    assert torch.equal(ours, plain)


def test_negatives_are_no_positives(data) -> None:
    users = torch.arange(data.n_users).repeat(5)
    negatives = Sampler(data.train)(users)
    pairs = set(map(tuple, data.train.T.tolist()))
    assert not pairs & set(zip(users.tolist(), negatives.tolist(), strict=True))
