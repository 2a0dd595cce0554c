"""Why an item stands in a list."""

from __future__ import annotations

import numpy as np

from .answers import Neighbor, Reason
from .errors import Refused
from .lists import Ranking, item_answer
from .requests import Why
from .shop import Shop, rank_among


def explain(ranking: Ranking, request: Why) -> Reason:
    """The nearest items of the history, with the users who have both, and the item's own facts.

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
        has, query = shop.history(person), shop.user[person]
    else:
        has, _ = ranking.read_history(request.history or [])
        query = shop.item[has].mean(0)
    scores = shop.item @ query
    return Reason(
        export=shop.name,
        item=item_answer(shop, item),
        score=float(scores[item]),
        rank=rank_among(scores, scores[item], has),
        users=len(_others(shop, item, person)),
        vector="content" if shop.made[item] else "trained",
        nearest=_nearest(shop, item, has, request.n, person),
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
