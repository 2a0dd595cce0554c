"""Zero-shot scores are the cosines of the definition, worked out user by user."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossalign.datasets import Dataset
from crossalign.evaluation import Evaluator
from crossalign.evaluation.scores import block_scorer
from crossalign.probes import zero_shot_scores


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def history(dataset: Dataset, user: int) -> list[int]:
    return [item for u, item in dataset.train.T.tolist() if u == user]


def all_scores(dataset: Dataset, variant: str) -> Tensor:
    scorer = block_scorer(zero_shot_scores(dataset, dataset.features["image"], variant))
    out = torch.empty(dataset.n_users, dataset.n_items)
    scorer(torch.arange(dataset.n_users), out)
    return out


def test_max_is_the_cosine_with_the_most_similar_item(dataset: Dataset) -> None:
    rows = dataset.features["image"]
    scores = all_scores(dataset, "max")
    for user in range(4):
        for item in range(6):
            want = max(cosine(rows[i], rows[item]) for i in history(dataset, user))
            assert scores[user, item] == pytest.approx(want, abs=1e-5)


def test_last_is_the_cosine_with_the_last_training_row(dataset: Dataset) -> None:
    rows = dataset.features["image"]
    scores = all_scores(dataset, "last")
    for user in range(4):
        for item in range(6):
            want = cosine(rows[history(dataset, user)[-1]], rows[item])
            assert scores[user, item] == pytest.approx(want, abs=1e-5)


def test_mean_orders_items_by_the_cosine_with_the_mean_of_unit_rows(dataset: Dataset) -> None:
    rows = dataset.features["image"]
    scores = all_scores(dataset, "mean")
    for user in range(4):
        mean = torch.stack([rows[i] / rows[i].norm() for i in history(dataset, user)]).mean(0)
        want = torch.tensor([cosine(mean, rows[item]) for item in range(6)])
        torch.testing.assert_close(scores[user], want * mean.norm())  # a factor of the user


def test_it_finds_the_one_item_that_looks_like_the_history() -> None:
    """Users 0 and 1 like opposite content; each one's held-out item looks like the history."""
    look = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).repeat(3, 1)
    train = torch.tensor([[0, 0, 1, 1], [0, 2, 1, 3]])
    held_out = torch.tensor([[0, 1], [4, 5]])
    data = Dataset("two tastes", 2, 6, train, held_out, held_out, features={"look": look})
    for variant in ("mean", "max", "last"):
        metrics = Evaluator(data, "test", [1])(zero_shot_scores(data, look, variant))
        assert metrics["recall@1"] == 1.0


def test_blocks_of_users_and_of_pairs_change_nothing(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = all_scores(dataset, "max")
    monkeypatch.setattr("crossalign.probes.zero_shot.PAIRS_AT_ONCE", 2)
    scorer = block_scorer(zero_shot_scores(dataset, dataset.features["image"], "max"))
    for user in (3, 0):
        out = torch.empty(1, dataset.n_items)
        scorer(torch.tensor([user]), out)
        torch.testing.assert_close(out[0], whole[user])
