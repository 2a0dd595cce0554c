"""Feedback scores: how well each view of an item explains its users."""

import torch

from crossalign.align.rows import ItemViews, Pairs, mean_users
from crossalign.align.scores import feedback_scores


def test_scores_are_mean_cosines_with_the_items_users(problem, published):
    p = problem(2, n_pairs=30)
    pairs = Pairs.of(p.users, p.items)
    views = ItemViews.gather(p.item, p.content, pairs.items, [None, None])
    unit = torch.nn.functional.normalize(p.user[pairs.users])
    scores = feedback_scores(mean_users(unit, pairs), views)
    for row, table in zip(scores, (p.item, *p.content), strict=True):
        expected = published.item_scores(p.user, table, p.users, p.items)
        torch.testing.assert_close(row, expected.detach())
    assert not scores.requires_grad
