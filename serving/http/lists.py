"""Lists: for users, for histories, and of similar items."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import torch

from ..asking import Asking
from .answers import Item, RankedList, RankedLists, Scored
from .errors import NotFound
from .requests import Bounds, ForHistories, ForUsers, Lists, Similar
from .scoring import BatchedIndex, Found, best_rows
from .shop import Shop

WIDEST = 2048
"""Rows to ask an index for; beyond, all items are scored."""

POPULAR = "this user has no history: these are the items most bought, scores their buyers"
"""What is said beside the list of someone of whom nothing is known."""

Search = Callable[[int, np.ndarray | None], Awaitable[Found]]
"""Finds so many items at most, of those in rows, or of all."""


class Ranking:
    """Answers requests for lists from one export.

    Args:
        shop: the export.
        fast: runs searches of the index.
        slow: runs searches of all items.
        bounds: of requests.
    """

    def __init__(self, shop: Shop, fast: Executor, slow: Executor, bounds: Bounds) -> None:
        self.shop, self.bounds = shop, bounds
        self._index = BatchedIndex(shop.index, fast)
        self._slow = slow

    async def for_users(self, request: ForUsers) -> RankedLists:
        """Lists for known users."""
        self.bounds.lists(request, len(request.users))
        rows = self.shop.users.rows(request.users)
        strangers = self.shop.strangers[rows]
        parts = []
        if not strangers.all():
            asking = self.shop.recommender.of_users(torch.from_numpy(rows[~strangers]))
            parts.append(await self._for_people(request, asking))
        if strangers.any():
            parts.append(await self._for_strangers(request, int(strangers.sum())))
        places = np.argsort(strangers, kind="stable").argsort()
        lists = [ranked for part in parts for ranked in part.lists]
        return parts[0].model_copy(update={"lists": [lists[place] for place in places]})

    async def for_histories(self, request: ForHistories) -> RankedLists:
        """Lists for people unknown: by the mean of the vectors of what they have."""
        self.bounds.lists(request, len(request.histories))
        read = [self.read_history(history) for history in request.histories]
        asking = self.shop.recommender.of_histories([torch.from_numpy(rows) for rows, _ in read])
        answer = await self._for_people(request, asking)
        for ranked, (_, missing) in zip(answer.lists, read, strict=True):
            ranked.unknown = missing
        return answer

    async def similar(self, request: Similar) -> RankedLists:
        """Items with the largest cosines with each of some items."""
        self.bounds.lists(request, len(request.items))
        rows = self.shop.items.rows(request.items)
        search = self._by_vectors(self.shop.unit(rows), cosine=True)
        return await self._answer(request, list(rows[:, None]), search)

    def read_history(self, history: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Rows of a history, and its ids that are unknown.

        Raises:
            NotFound: all are.
        """
        self.bounds.ids("history", len(history))
        rows, unknown = self.shop.items.known(history)
        if not len(rows):
            raise NotFound("the export has no item of the history: give one that it has")
        return rows, unknown

    async def near(self, request: Lists, queries: np.ndarray) -> RankedLists:
        """Items with the largest cosines with `(n, dim)` queries."""
        nothing = [np.empty(0, np.int64)] * len(queries)
        return await self._answer(request, nothing, self._by_vectors(queries, cosine=True))

    async def _for_strangers(self, request: Lists, number: int) -> RankedLists:
        """The items most bought, as many times."""
        nothing = [np.empty(0, np.int64)] * number
        answer = await self._answer(request, nothing, self._by_popularity(number))
        for ranked in answer.lists:
            ranked.note = POPULAR
        return answer

    async def _for_people(self, request: Lists, asking: Asking) -> RankedLists:
        """By final scores: inner products, with evidence where the export has some."""
        if self.shop.evidence is None:
            search = self._by_vectors(asking.user.numpy(), cosine=False)
        else:
            search = self._by_evidence(asking)
        return await self._answer(request, asking.has(), search)

    async def _answer(self, request: Lists, has: list[np.ndarray], search: Search) -> RankedLists:
        shop = self.shop
        without, unknown = shop.items.known(request.without)
        only = None
        if request.only is not None:
            only, missing = shop.items.known(request.only)
            only = np.sort(only)
            unknown = list(dict.fromkeys([*missing, *unknown]))
        width = request.k + max(map(len, has)) + len(without)
        found = await search(width, only)
        lists = [
            self._list(rows, scores, np.concatenate([own, without]), request.k)
            for rows, scores, own in zip(found.rows, found.scores, has, strict=True)
        ]
        return RankedLists(export=shop.name, lists=lists, unknown=unknown)

    def _by_vectors(self, queries: np.ndarray, *, cosine: bool) -> Search:
        """Search for `(n, dim)` queries: by the index where it can answer, else of all items."""

        async def search(width: int, only: np.ndarray | None) -> Found:
            if only is None and not cosine and width <= WIDEST:
                return await self._index.search(queries, width)
            run = asyncio.get_running_loop().run_in_executor
            return await run(self._slow, self._scan, queries, width, only, cosine)

        return search

    def _by_popularity(self, number: int) -> Search:
        """Search of all items by their interactions in training."""

        def best(width: int, only: np.ndarray | None) -> Found:
            order = self.shop.popular
            rows = (order if only is None else order[np.isin(order, only)])[:width]
            found = Found(rows, self.shop.bought[rows].astype(np.float32))
            return Found(*(np.tile(part, (number, 1)) for part in (found.rows, found.scores)))

        async def search(width: int, only: np.ndarray | None) -> Found:
            return await asyncio.get_running_loop().run_in_executor(self._slow, best, width, only)

        return search

    def _by_evidence(self, asking: Asking) -> Search:
        """Search of all items by scores with evidence, as `Recommender` makes lists."""

        def best(width: int, only: np.ndarray | None) -> Found:
            chosen = None if only is None else torch.from_numpy(only)
            rows, scores = self.shop.recommender.best(asking, width, chosen)
            return Found(rows.numpy(), scores.numpy())

        async def search(width: int, only: np.ndarray | None) -> Found:
            width = min(width, len(self.shop.items))
            return await asyncio.get_running_loop().run_in_executor(self._slow, best, width, only)

        return search

    def _scan(
        self, queries: np.ndarray, width: int, only: np.ndarray | None, cosine: bool
    ) -> Found:
        """Search of all items, or of those in `only`, by inner products or cosines."""
        shop = self.shop
        table = shop.item if only is None else shop.item[only]
        scale = None
        if cosine:
            scale = shop.inverse if only is None else shop.inverse[only]
        found = best_rows(queries, table, width, scale)
        return found if only is None else Found(only[found.rows], found.scores)

    def _list(
        self, rows: np.ndarray, scores: np.ndarray, left_out: np.ndarray, k: int
    ) -> RankedList:
        kept = (rows >= 0) & ~np.isin(rows, left_out)
        rows, scores = rows[kept], scores[kept]
        order = np.lexsort((rows, -scores))[:k]
        pairs = zip(rows[order].tolist(), scores[order].tolist(), strict=True)
        return RankedList(items=[scored(self.shop, row, score) for row, score in pairs])


def item_answer(shop: Shop, row: int) -> Item:
    """An item with its title."""
    name = shop.items.names[row]
    return Item(
        id=name, title=shop.catalogue.titles.get(name), picture=name in shop.catalogue.pictures
    )


def scored(shop: Shop, row: int, score: float) -> Scored:
    """An item of a list."""
    name = shop.items.names[row]
    catalogue = shop.catalogue
    return Scored(
        id=name,
        title=catalogue.titles.get(name),
        picture=name in catalogue.pictures,
        score=score,
    )
