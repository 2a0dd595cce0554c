"""Full-ranking evaluation against top-k and Python loops over users."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from plain import evaluate
from timing import Comparison, compare

from crossalign.datasets import Dataset
from crossalign.evaluation import DEFAULT_KS, Evaluator
from crossalign.models import Representations

DIM = 64


def rows(dataset: Dataset) -> Iterator[Comparison]:
    """Recall and NDCG (ours: also precision, MAP, hit rate, MRR) of the validation split."""
    rng = torch.Generator().manual_seed(0)
    user = torch.randn(dataset.n_users, DIM, generator=rng)
    item = torch.randn(dataset.n_items, DIM, generator=rng)
    evaluator = Evaluator(dataset, "valid")
    representations = Representations(user, item)
    ours = evaluator(representations)
    plain = evaluate(user, item, dataset.train, dataset.valid, DEFAULT_KS)
    worst = max(abs(ours[name] - value) for name, value in plain.items())
    assert worst < 1e-6, f"the two evaluations differ by {worst}"
    yield compare(
        "full-ranking evaluation, validation",
        lambda: evaluate(user, item, dataset.train, dataset.valid, DEFAULT_KS),
        lambda: evaluator(representations),
        rounds=3,
    )
