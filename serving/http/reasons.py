"""Why an item stands in a list."""

from __future__ import annotations

import numpy as np
import torch

from ...evaluation import BlockScorer
from ...evidence import EvidenceScorer
from ..asking import Asking
from .answers import EvidenceReason, Neighbor, Reason, Saying
from .errors import Refused
from .lists import POPULAR, Ranking, item_answer
from .requests import Why
from .scoring import score_one
from .shop import Shop, rank_among


def explain(ranking: Ranking, request: Why) -> Reason:
    """The nearest items of the history, with the users who have both, and the item's own facts.

    Where lists carry evidence, score and rank are those with it, and its own numbers are told.

    Raises:
        Refused: an id is unknown, or not just one of user and history is given.
    """
    shop = ranking.shop
    if (request.user is None) == (request.history is None):
        raise Refused("give either a user or a history")
    item = shop.items.row(request.item)
    person = None
    if request.user is not None:
        person = shop.users.row(request.user)
        if shop.strangers[person]:
            return _popularity(shop, item)
        asking = shop.recommender.of_users(torch.tensor([person]))
    else:
        rows, _ = ranking.read_history(request.history or [])
        asking = shop.recommender.of_histories([torch.from_numpy(rows)])
    (has,), scorer = asking.has(), shop.recommender.scorer(asking)
    scores = score_one(scorer, 0)
    return Reason(
        export=shop.name,
        item=item_answer(shop, item),
        score=float(scores[item]),
        rank=rank_among(scores, scores[item], has),
        users=len(_others(shop, item, person)),
        vector=_source(shop, item),
        nearest=_nearest(shop, item, has, request.n, person),
        evidence=_evidence(shop, scorer, asking, item, request.n),
    )


def _popularity(shop: Shop, item: int) -> Reason:
    """Why an item stands in the list of someone without history."""
    return Reason(
        export=shop.name,
        item=item_answer(shop, item),
        score=float(shop.bought[item]),
        rank=1 + int(np.flatnonzero(shop.popular == item)[0]),
        users=len(shop.owners(item)),
        vector=_source(shop, item),
        nearest=[],
        note=POPULAR,
    )


def _source(shop: Shop, item: int) -> str:
    return "content" if shop.made[item] else "trained"


def _evidence(
    shop: Shop, scorer: BlockScorer, asking: Asking, item: int, n: int
) -> EvidenceReason | None:
    """What evidence adds to the score of an item for the one who asks."""
    if shop.evidence is None or not isinstance(scorer, EvidenceScorer):
        return None
    one = torch.arange(1)
    block = scorer.block(one)
    candidate, spread = bool(block.candidates[0, item]), float(block.spread)
    evidence = float(scorer.evidence(one)[0, item])
    rows, values = shop.evidence.says(asking.history, item)
    sayings = [
        Saying(
            **item_answer(shop, row).model_dump(),
            says={kind: float(of_kind[place]) for kind, of_kind in values.items()},
        )
        for place, row in enumerate(rows[:n].tolist())
    ]
    return EvidenceReason(
        model=float(block.scores[0, item]),
        added=scorer.weight * spread * evidence if candidate else 0.0,
        candidate=candidate,
        weight=scorer.weight,
        spread=spread,
        evidence=evidence,
        sayings=sayings,
    )


def _nearest(shop: Shop, item: int, has: np.ndarray, n: int, person: int | None) -> list[Neighbor]:
    cosines = shop.unit(has) @ shop.unit(np.array([item]))[0]
    owners = _others(shop, item, person)
    nearest = []
    for place in np.lexsort((has, -cosines))[:n]:
        row = int(has[place])
        theirs = _others(shop, row, person)
        nearest.append(
            Neighbor(
                **item_answer(shop, row).model_dump(),
                cosine=float(cosines[place]),
                users=len(theirs),
                both=len(np.intersect1d(owners, theirs, assume_unique=True)),
            )
        )
    return nearest


def _others(shop: Shop, item: int, person: int | None) -> np.ndarray:
    """Who has an item, without the one who is asked about."""
    owners = shop.owners(item)
    return owners if person is None else owners[owners != person]
