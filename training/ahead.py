"""Work that one thread does ahead of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def made_ahead(items: Iterator[Item], n: int = 2) -> Iterator[Item]:
    """The items, in order, made by a thread of their own while those before are used.

    One thread makes them all, so they are the same however many threads there are elsewhere.

    Args:
        items: makes one item at a time.
        n: items at most that are waiting or being made.

    Raises:
        BaseException: what `items` raised, where its item would have come.
    """
    end = object()

    def make() -> object:
        return next(items, end)

    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting = deque(pool.submit(make) for _ in range(n))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(make))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
