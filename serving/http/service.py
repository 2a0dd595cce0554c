"""One process of a service: the export that it serves now, and how it takes over the next."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .catalogue import Catalogue
from .encoders import Encoders
from .errors import Refused
from .lists import Ranking
from .metrics import Metrics
from .options import ItemsFile, ServeOptions
from .placing import Placing
from .requests import Bounds
from .shop import Shop, use_threads
from .store import CURRENT, read_current

LOOK_EVERY = 0.25
"""Seconds between looks at which export is the current one."""


@dataclass(frozen=True)
class Serving:
    """An export and what answers from it; requests hold on to the one that they began with."""

    shop: Shop
    ranking: Ranking
    placing: Placing


class Service:
    """Serves the current export of a store.

    Args:
        store: folder of a `Store`.
        options: bounds and threads.
        items: titles and pictures.
    """

    def __init__(self, store: Path, options: ServeOptions, items: ItemsFile | None = None) -> None:
        self.store, self.options, self.items = store, options, items
        self.metrics = Metrics()
        self.bounds = Bounds(options)
        self.fast = ThreadPoolExecutor(1, "search")
        self.slow = ThreadPoolExecutor(1, "scan")
        self.loader = ThreadPoolExecutor(1, "load")
        self.number, self.refused, self._changed = 0, 0, 0
        self._serving: Serving | None = None
        self._encoders = Encoders(options.max_pixels, allow_code=options.allow_code)

    @property
    def serving(self) -> Serving:
        """What is served now. Raises `Refused` with 503 before the first export is there."""
        if self._serving is None:
            raise Refused("the service is not ready yet", 503)
        return self._serving

    @property
    def shop(self) -> Shop | None:
        """The export that is served now."""
        return None if self._serving is None else self._serving.shop

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the export, and follow the store as long as the context lasts."""
        use_threads(self.options.threads)
        await self._take()
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                if (self.store / CURRENT).stat().st_mtime_ns != self._changed:
                    await self._take()
            except Exception:  # the old export goes on, and the next look tries again
                traceback.print_exc(file=sys.stderr)

    async def _take(self) -> None:
        """Load the current export, if it is another one, and serve from it from then on."""
        changed = (self.store / CURRENT).stat().st_mtime_ns
        number, self.refused = read_current(self.store)
        if number != self.number:
            loop = asyncio.get_running_loop()
            self._serving = await loop.run_in_executor(self.loader, self._load, number)
            self.number = number
        self._changed = changed

    def _load(self, number: int) -> Serving:
        folder = self.store / str(number)
        shop = Shop.load(folder, Catalogue.read(self.items), evidence=self.options.evidence)
        records = self._encoders.read_records(folder, shop.about.get("encoders", []))
        ranking = Ranking(shop, self.fast, self.slow, self.bounds)
        return Serving(shop, ranking, Placing(ranking, self._encoders, records, self.slow))
