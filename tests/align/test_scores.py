"""Feedback scores: how well each view of an item explains its users."""

import torch

from crossalign.align.batch import Batch
from crossalign.align.feedback import feedback_scores
from crossalign.tensors.tables import Tables


def test_scores_are_mean_cosines_with_the_items_users(problem, published):
    p = problem(2, n_pairs=30)
    tables = Tables(p.user, p.item, dict(zip(p.names, p.content, strict=True)))
    batch = Batch(tables, {}, p.users, p.items)
    scores = feedback_scores(batch.mean_user, batch.views)
    for row, table in zip(scores, (p.item, *p.content), strict=True):
        expected = published.item_scores(p.user, table, p.users, p.items)
        torch.testing.assert_close(row, expected.detach())
    assert not scores.requires_grad
