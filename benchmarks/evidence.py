"""Lists with evidence after the model, against dense histories and weights."""

from __future__ import annotations

import torch
from limits import products
from plain.evidence import lists_with_evidence
from row import Row
from timing import timed

from crossalign.datasets import Dataset
from crossalign.evaluation import recommend
from crossalign.evidence import EvidenceOptions, Stage
from crossalign.models import Representations

DIM, K, WEIGHT = 64, 50, 0.3
KIND = "cooccurrence"


def evidence_row(data: Dataset) -> Row:
    """The 50 best items of every user of the validation split; lists of items are at hand."""
    rng = torch.Generator().manual_seed(0)
    user = torch.randn(data.n_users, DIM, generator=rng)
    item = torch.randn(data.n_items, DIM, generator=rng)
    users = data.valid[0].unique()
    options = EvidenceOptions(kind=KIND)
    stage = Stage(Representations(user, item), data, options)
    weights = torch.from_numpy(stage.lists(KIND).toarray())
    scorer = stage.scorer(KIND, WEIGHT)

    def plain() -> object:
        return lists_with_evidence(
            (user, item),
            data.train,
            weights,
            users,
            weight=WEIGHT,
            candidates=options.candidates,
            k=K,
        )

    return Row(
        work="lists with evidence, validation users",
        plain=timed(plain),
        ours=timed(lambda: recommend(scorer, users, K, data.train)),
        target=3,
        cost=products(len(users), data.n_items, DIM),
    )
