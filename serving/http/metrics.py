"""What Prometheus reads: of all processes together, where there are several."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from .options import METRICS_VARIABLE
from .shop import Shop

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counts of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "crossalign_requests", "Requests answered.", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "crossalign_request_seconds",
            "Time to answer.",
            ["path"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def count(self, path: str, status: int, seconds: float) -> None:
        """Note one answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def page(self, shop: Shop | None, taken: int, refused: int) -> bytes:
        """The page that Prometheus reads.

        Args:
            shop: the export that is served.
            taken: exports that have been served so far.
            refused: those that were damaged.
        """
        if os.environ.get(METRICS_VARIABLE):
            counts = CollectorRegistry()
            MultiProcessCollector(counts)
        else:
            counts = self._registry
        state = CollectorRegistry()
        state.register(_State(shop, taken, refused))
        return generate_latest(counts) + generate_latest(state)


class _State:
    def __init__(self, shop: Shop | None, taken: int, refused: int) -> None:
        self._shop, self._taken, self._refused = shop, taken, refused

    def collect(self) -> Iterator[GaugeMetricFamily]:
        shop = self._shop
        values: dict[str, tuple[str, float]] = {
            "exports_taken": ("Exports that have been served so far.", self._taken),
            "exports_refused": ("Damaged exports that were not.", self._refused),
            "ready": ("Whether there is an export to serve.", int(shop is not None)),
        }
        if shop is not None:
            values |= {
                "index_items": ("Items in the index.", shop.index.ntotal),
                "users": ("Users who have lists.", len(shop.users)),
                "export_age_seconds": ("Age of the export.", time.time() - shop.created),
            }
        for name, (text, value) in values.items():
            yield GaugeMetricFamily(f"crossalign_{name}", text, value=value)
