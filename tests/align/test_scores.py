"""The one-way and the dynamic rule for directions."""

import torch

from crossalign.align.scores import active_directions, compensated


def test_exactly_three_directions_without_ties():
    scores = torch.rand(3, 50, dtype=torch.float64)
    active = active_directions(scores, None, leaky_bi=False)
    assert (active.sum((0, 1)) == 3).all()
    assert not (active & active.transpose(0, 1)).any(), "a->b and b->a exclude each other"
    dynamic = active_directions(scores, None, leaky_bi=True)
    assert (dynamic | ~active).all(), "the dynamic rule only adds directions"
    assert not dynamic.diagonal().any()


def test_reverse_direction_opens_below_the_weaker_compensation():
    scores = torch.rand(3, 40, dtype=torch.float64)
    dynamic = active_directions(scores, None, leaky_bi=True)
    for a in range(3):
        for b in range(3):
            for i in range(40):
                gap = scores[a, i] - scores[b, i]
                if a != b and gap > 0:
                    v = scores[b].var()
                    assert dynamic[a, b, i] == (gap < v * (torch.exp(1 - scores[b, i]) - 1))


def test_ties_are_closed_one_way_and_open_both_ways_dynamically():
    scores = torch.tensor([[0.1, 0.5], [0.1, 0.5]])
    assert not active_directions(scores, None, leaky_bi=False).any()
    assert active_directions(scores, None, leaky_bi=True).sum() == 4


def test_no_variance_gives_the_one_way_rule():
    constant = torch.tensor([[0.1, 0.1], [0.2, 0.2], [0.15, 0.15]])
    torch.testing.assert_close(compensated(constant), constant)
    one = torch.tensor([[0.1], [0.2], [0.3]])
    torch.testing.assert_close(compensated(one), one)
