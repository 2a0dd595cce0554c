"""Scores that are no inner product are ranked like those that are."""

from __future__ import annotations

import torch
from torch import Tensor

from crossalign.evaluation import BlockScorer, Evaluator, recommend


class Given:
    """A block scorer that looks its scores up, and remembers the sizes of the blocks."""

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores
        self.n_users, self.n_items = scores.shape
        self.dtype, self.device = scores.dtype, scores.device
        self.blocks: list[int] = []

    def __call__(self, users: Tensor, out: Tensor) -> None:
        self.blocks.append(len(users))
        out.copy_(self.scores[users])


def scored_world(make_dataset):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(20, 15, generator=generator).round(decimals=1)  # with ties
    train = [(user, user % 15) for user in range(20)]
    valid = [(user, (user + 1 + slot) % 15) for user in range(20) for slot in range(user % 3 + 1)]
    return scores, make_dataset(20, 15, train, valid)


def test_metrics_equal_those_of_equal_inner_products(make_dataset, as_representations) -> None:
    scores, dataset = scored_world(make_dataset)
    evaluator = Evaluator(dataset, "valid", [1, 5], block_users=6)
    scorer: BlockScorer = Given(scores)
    assert evaluator(scorer) == evaluator(as_representations(scores))
    assert scorer.blocks == [6, 6, 6, 2]


def test_lists_equal_those_of_equal_inner_products(make_dataset, as_representations) -> None:
    scores, dataset = scored_world(make_dataset)
    users = torch.tensor([3, 3, 19, 0])
    ids, best = recommend(Given(scores), users, 4, dataset.train, block_users=3)
    want_ids, want = recommend(as_representations(scores), users, 4, dataset.train)
    assert torch.equal(ids, want_ids)
    assert torch.equal(best, want)
