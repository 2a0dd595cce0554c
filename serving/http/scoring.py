"""The best rows of a table for some vectors, in blocks, and by an index with requests together."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...evaluation import BlockScorer

ROWS_AT_ONCE = 65_536
MOST_TOGETHER = 256
"""Vectors that are searched at once."""


@dataclass(frozen=True)
class Found:
    """Rows `(n, width)` int64, -1 where there are fewer, and their scores, best first."""

    rows: np.ndarray
    scores: np.ndarray


def best_rows(
    queries: np.ndarray,
    table: np.ndarray,
    width: int,
    scale: np.ndarray | None = None,
    left_out: np.ndarray | None = None,
) -> Found:
    """Exact search: rows of `table` with the largest inner products, ties by the lower row.

    Args:
        queries: `(n, dim)`.
        table: `(n_rows, dim)`, read in blocks.
        width: how many.
        scale: `(n_rows,)` factor of each row's scores.
        left_out: `(n_rows,)` bool, rows that score minus infinity.
    """
    n = len(queries)
    rows, scores = np.empty((n, 0), np.int64), np.empty((n, 0), np.float32)
    for first in range(0, len(table), ROWS_AT_ONCE):
        block = queries @ table[first : first + ROWS_AT_ONCE].T
        if scale is not None:
            block *= scale[first : first + ROWS_AT_ONCE]
        if left_out is not None:
            block[:, left_out[first : first + ROWS_AT_ONCE]] = -np.inf
        found = _top(block, width)
        rows = np.concatenate([rows, found + first], axis=1)
        scores = np.concatenate([scores, np.take_along_axis(block, found, 1)], axis=1)
        kept = _top(scores, width)
        rows, scores = np.take_along_axis(rows, kept, 1), np.take_along_axis(scores, kept, 1)
    return Found(rows, scores)


def _top(scores: np.ndarray, width: int) -> np.ndarray:
    """Columns `(n, min(width, columns))` of the largest scores, ties by the lower column."""
    columns = scores.shape[1]
    if width < columns:
        chosen = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        chosen.sort(axis=1)
    else:
        chosen = np.broadcast_to(np.arange(columns), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, chosen, 1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, 1)


def score_one(scorer: BlockScorer, user: int) -> np.ndarray:
    """`(n_items,)` scores of one user."""
    scores = torch.empty(1, scorer.n_items, dtype=scorer.dtype)
    scorer(torch.tensor([user]), scores)
    return scores[0].numpy()


@dataclass(frozen=True)
class _Search:
    queries: np.ndarray
    width: int
    answer: asyncio.Future[Found]


class BatchedIndex:
    """A FAISS index that searches for all requests that wait, at once.

    While one search runs, requests gather for the next: nobody waits for a batch to fill.

    Args:
        index: of largest inner products.
        executor: where to search; its threads must not hold the interpreter.
    """

    def __init__(self, index: Any, executor: Executor) -> None:
        self.index = index
        self._executor = executor
        self._waiting: list[_Search] = []
        self._task: asyncio.Task[None] | None = None

    async def search(self, queries: np.ndarray, width: int) -> Found:
        """The `width` best rows for each of `(n, dim)` queries."""
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Search(queries, width, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._next()
                try:
                    found = await asyncio.get_running_loop().run_in_executor(
                        self._executor, self._search, batch
                    )
                except Exception as error:  # each of those who wait has to hear of it
                    for one in batch:
                        if not one.answer.done():  # whoever asked may have gone
                            one.answer.set_exception(error)
                    continue
                for one, part in zip(batch, found, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(part)
        finally:
            self._task = None

    def _next(self) -> list[_Search]:
        """As many of those who wait as go together, the first in any case."""
        total = number = 0
        for one in self._waiting:
            total += len(one.queries)
            if number and total > MOST_TOGETHER:
                break
            number += 1
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        return batch

    def _search(self, batch: list[_Search]) -> list[Found]:
        queries = np.concatenate([one.queries for one in batch])
        width = min(max(one.width for one in batch), self.index.ntotal)
        scores, rows = self.index.search(np.ascontiguousarray(queries, np.float32), width)
        ends = np.cumsum([len(one.queries) for one in batch])[:-1]
        parts = zip(np.split(rows, ends), np.split(scores, ends), strict=True)
        return [Found(*part) for part in parts]
