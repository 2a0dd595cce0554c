"""Final scores against loops in plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch

from crossalign.evaluation import Evaluator, evaluate
from crossalign.evidence import EvidenceOptions, Stage
from crossalign.evidence.stage import kth_largest, standardised
from crossalign.models import Representations


def table(scorer) -> np.ndarray:
    out = torch.empty(scorer.n_users, scorer.n_items)
    scorer(torch.arange(scorer.n_users), out)
    return out.numpy()


def loop_z(lists: np.ndarray, history: set[int]) -> list[float]:
    """Evidence of a history, in standard deviations over the catalogue."""
    raw = [sum(float(lists[j, i]) for j in history) for i in range(len(lists))]
    mean, spread = statistics.fmean(raw), statistics.pstdev(raw)
    return [(value - mean) / spread if spread > 1e-9 else 0.0 for value in raw]


@pytest.mark.parametrize("kind", ["cooccurrence", "allocation+contentease"])
def test_final_scores_are_the_loop(kind, planted, model):
    """`s + w sd z` for the best candidates that the user has not, `s` elsewhere."""
    stage = Stage(model, planted, EvidenceOptions(kind=kind, candidates=12))
    found = table(stage.scorer(kind, 0.7))
    lists = [stage.lists(name).toarray() for name in kind.split("+")]
    for user in range(0, planted.n_users, 7):
        history = set(planted.train[1][planted.train[0] == user].tolist())
        scores = (model.user[user] @ model.item.T).tolist()
        parts = [loop_z(own, history) for own in lists]
        z = [sum(values) for values in zip(*parts, strict=True)]
        spread = statistics.pstdev(z)
        if len(parts) > 1 and spread > 1e-9:
            z = [value / spread for value in z]
        left = sorted((i for i in range(len(scores)) if i not in history), key=lambda i: -scores[i])
        sd = statistics.pstdev(scores)
        expected = list(scores)
        for item in left[:12]:
            expected[item] += 0.7 * sd * z[item]
        np.testing.assert_allclose(found[user], expected, atol=2e-4)


def test_a_weight_means_the_same_for_every_scale_of_scores(planted, model):
    """Scores ten times as large take ten times the evidence: lists stay as they are."""
    options = EvidenceOptions(kind="allocation")
    scaled = Representations(10 * model.user, model.item)
    both = [Stage(m, planted, options).scorer("allocation", 0.3) for m in (model, scaled)]
    np.testing.assert_allclose(10 * table(both[0]), table(both[1]), rtol=1e-4, atol=1e-4)


def test_blocks_of_users_change_nothing(planted, model):
    """Metrics are the same for blocks of any size."""
    stage = Stage(model, planted, EvidenceOptions(kind="allocation"))
    scorer = stage.scorer("allocation", 0.3)
    found = [Evaluator(planted, "test", block_users=n).ranks(scorer) for n in (1, 7, 1000)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_several_scorers_in_one_pass_are_each_by_itself(planted, model):
    """Sharing the work on a block mixes nothing up."""
    stage = Stage(model, planted, EvidenceOptions())
    points = [("ease", 0.0), ("ease", 0.5), ("allocation", 0.5), ("ease+allocation", 0.2)]
    evaluator = Evaluator(planted, "valid", [20])
    together = evaluator.ranks_of_each([stage.scorer(*point) for point in points])
    for point, ranks in zip(points, together, strict=True):
        alone = Stage(model, planted, EvidenceOptions()).scorer(*point)
        assert torch.equal(ranks, evaluator.ranks(alone))


def test_no_weight_is_the_model(planted, model):
    """Weight zero: every metric of the model."""
    stage = Stage(model, planted, EvidenceOptions())
    assert dict(evaluate(stage.scorer("ease", 0.0), planted, "test")) == dict(
        evaluate(model, planted, "test")
    )


def test_users_without_history_keep_their_scores(planted, model):
    """Where nothing is known of a user, nothing is added."""
    stage = Stage(model, planted, EvidenceOptions(kind="allocation"))
    first, last = stage.history.indptr[3:5]
    stage.history.data[first:last] = 0
    stage.history.eliminate_zeros()
    found = table(stage.scorer("allocation", 1.0))[3]
    np.testing.assert_allclose(found, (model.user[3] @ model.item.T).numpy(), rtol=1e-5)


def test_pieces_of_the_stage():
    """Equal numbers standardise to zeros, and the k-th largest counts ties."""
    rows = torch.tensor([[0.1, 0.1, 0.1], [0.0, 0.0, 3.0]])
    np.testing.assert_allclose(
        standardised(rows), [[0, 0, 0], [-math.sqrt(0.5)] * 2 + [math.sqrt(2)]], atol=1e-6
    )
    values = torch.tensor([[3.0, 1.0, 2.0, -math.inf]])
    assert kth_largest(values, 2).item() == 2.0
    assert kth_largest(values, 4).item() == -math.inf
