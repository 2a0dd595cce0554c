"""Full-ranking evaluation against top-k and Python loops over users."""

from __future__ import annotations

import torch
from limits import products
from plain.evaluation import evaluate
from row import Row
from timing import timed

from crossalign.datasets import Dataset
from crossalign.evaluation import DEFAULT_KS, Evaluator
from crossalign.models import Representations

DIM = 64


def evaluation_row(data: Dataset) -> Row:
    """Recall and NDCG (ours: also precision, MAP, hit rate, MRR) of the validation split."""
    rng = torch.Generator().manual_seed(0)
    user = torch.randn(data.n_users, DIM, generator=rng)
    item = torch.randn(data.n_items, DIM, generator=rng)
    evaluator = Evaluator(data, "valid")
    return Row(
        work="full-ranking evaluation, validation",
        plain=timed(lambda: evaluate(user, item, data.train, data.valid, DEFAULT_KS)),
        ours=timed(lambda: evaluator(Representations(user, item))),
        target=6,
        cost=products(len(data.valid[0].unique()), data.n_items, DIM),
        published={"baby": 2.7}.get(data.name),
    )
