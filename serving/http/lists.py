"""Lists: for users, for histories, and of similar items."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from .answers import Item, RankedList, RankedLists, Scored
from .errors import NotFound
from .requests import Bounds, ForHistories, ForUsers, Lists, Similar
from .scoring import BatchedIndex, Found, best_rows
from .shop import Shop

WIDEST = 2048
"""Rows to ask an index for; beyond, all items are scored."""


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
        has = [self.shop.history(row) for row in rows]
        return await self._answer(request, self.shop.user[rows], has)

    async def for_histories(self, request: ForHistories) -> RankedLists:
        """Lists for people unknown: by the mean of the vectors of what they have."""
        self.bounds.lists(request, len(request.histories))
        queries, has, unknown = [], [], []
        for history in request.histories:
            rows, missing = self.read_history(history)
            queries.append(self.shop.item[rows].mean(0))
            has.append(rows)
            unknown.append(missing)
        answer = await self._answer(request, np.stack(queries), has)
        for ranked, missing in zip(answer.lists, unknown, strict=True):
            ranked.unknown = missing
        return answer

    async def similar(self, request: Similar) -> RankedLists:
        """Items with the largest cosines with each of some items."""
        self.bounds.lists(request, len(request.items))
        rows = self.shop.items.rows(request.items)
        return await self._answer(request, self.shop.unit(rows), list(rows[:, None]), cosine=True)

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

    async def near(self, request: Lists, queries: np.ndarray, *, cosine: bool) -> RankedLists:
        """Lists for `(n, dim)` queries who have nothing, by inner products or cosines."""
        nothing = [np.empty(0, np.int64)] * len(queries)
        return await self._answer(request, queries, nothing, cosine=cosine)

    async def _answer(
        self,
        request: Lists,
        queries: np.ndarray,
        has: list[np.ndarray],
        *,
        cosine: bool = False,
    ) -> RankedLists:
        shop = self.shop
        without, unknown = shop.items.known(request.without)
        only = None
        if request.only is not None:
            only, missing = shop.items.known(request.only)
            only = np.sort(only)
            unknown = list(dict.fromkeys([*missing, *unknown]))
        width = request.k + max(map(len, has)) + len(without)
        if only is not None or cosine or width > WIDEST:
            found = await asyncio.get_running_loop().run_in_executor(
                self._slow, self._scan, queries, width, only, cosine
            )
        else:
            found = await self._index.search(queries, width)
        lists = [
            self._list(rows, scores, np.concatenate([own, without]), request.k)
            for rows, scores, own in zip(found.rows, found.scores, has, strict=True)
        ]
        return RankedLists(export=shop.name, lists=lists, unknown=unknown)

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
