"""Keeps the newest committed state at hand, so that a scrape only reads.

The snapshot is replaced whole; whoever holds the old one is not disturbed. When the
ledger cannot be read the old one stays and ages, and past 10 s nobody exports it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection

from costmeter.analysis.budgets import BudgetStatus, families
from costmeter.analysis.list_prices import FAMILY as PRICES
from costmeter.analysis.list_prices import price_chunks
from costmeter.clock import Clock
from costmeter.engine.anomaly_documents import AnomalyFigures
from costmeter.engine.budget_alarms import Alarms
from costmeter.engine.budget_watch import BudgetWatch
from costmeter.engine.forecast_documents import ForecastFigures
from costmeter.ledger.history import Unpriced, unpriced
from costmeter.ledger.snapshot import SnapshotReader
from costmeter.ledger.store import Store
from costmeter.model import Chunk, Snapshot
from costmeter.pricing import PriceBook
from costmeter.pricing.exchange import Exchange

#: Warning and critical amounts of categories: (category, level, nano-USD).
Thresholds = tuple[tuple[str, str, int], ...]

_log = logging.getLogger("costmeter.ledger")


class Publisher:
    """Refreshes `snapshot` in a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        prices: Callable[[], PriceBook] | None = None,
        exchange: Callable[[], Exchange] = Exchange,
        thresholds: Callable[[], Thresholds] = tuple,
        alarms: Alarms | None = None,
        interval_seconds: float = 0.5,
        budgets_seconds: float = 15,
    ) -> None:
        self._store = store
        self._exchange = exchange
        self._thresholds = thresholds
        self._alarms = alarms
        self._open()
        self._clock = clock
        self._prices = prices
        self._interval_seconds = interval_seconds
        self._budgets_ms = int(budgets_seconds * 1_000)
        self._asked = threading.Event()
        self._assessed_ms: int | None = None
        self._families: Mapping[str, tuple[Chunk, ...]] = {}
        self._snapshot: Snapshot | None = None
        self._problem = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="publisher", daemon=True)
        self.statuses: tuple[BudgetStatus, ...] = ()
        self.unpriced: tuple[Unpriced, ...] = ()

    def start(self) -> None:
        """Publish once, then keep on. The first snapshot is there when this returns."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._reader.close()

    def snapshot(self) -> Snapshot | None:
        return self._snapshot

    def assess(self) -> None:
        """Have the budgets looked at with the next refresh."""
        self._asked.set()

    def refresh(self) -> None:
        """Read the newest state and publish it."""
        if self._file != _identity(self._store.path):
            # A restore put another file in its place; the old one would stay as it is for ever.
            self._reader.close()
            self._open()
        read = self._reader.refresh()
        now_ms = self._clock.monotonic_ms()
        due = self._assessed_ms is None or now_ms - self._assessed_ms >= self._budgets_ms
        due = due or self._asked.is_set()
        self._asked.clear()
        if due:
            self._assess(read)
            self._assessed_ms = now_ms
        published = dict(read.families)
        published.update(self._families)
        counters = published.get("llm_budget_cost_total", ())
        published["llm_budget_cost_total"] = self._only_exported(counters)
        self._snapshot = replace(read, families=published)

    def _open(self) -> None:
        file = _identity(self._store.path)
        self._connection: Connection = self._store.reader()
        self._reader = SnapshotReader(self._connection)
        self._watch = BudgetWatch(self._connection, self._exchange)
        self._forecasts = ForecastFigures(self._connection)
        self._anomalies = AnomalyFigures(self._connection)
        # Last: what could not be opened is opened with the next refresh.
        self._file = file

    def _assess(self, read: Snapshot) -> None:
        now_ms = read.release_clock_ms
        self._watch.refresh(now_ms)
        numbers = self._watch.exported()
        self.statuses = tuple(self._watch.statuses(numbers))
        if self._alarms is not None:
            self._alarms.look(self._watch, set(numbers))
        self.unpriced = tuple(unpriced(self._connection))
        found = dict(families(self.statuses, self._thresholds()))
        found.update(self._forecasts.refresh(now_ms))
        found.update(self._anomalies.refresh(now_ms))
        if self._prices is not None:
            found[PRICES] = price_chunks(self._prices(), read.families, now_ms)
        self._families = found

    def _only_exported(self, chunks: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        """Counters of budgets that are not exported now are not either."""
        shown = {status.budget.series_labels for status in self.statuses}
        if all(labels in shown for chunk in chunks for labels in chunk.labels):
            return chunks
        return tuple(_narrowed(chunk, shown) for chunk in chunks)

    def _loop(self) -> None:
        while not self._stopping.wait(self._interval_seconds):
            try:
                self.refresh()
                self._problem = ""
            except Exception as error:  # noqa: BLE001 - damage has many faces, and may end
                text = f"{type(error).__name__}: {error}"
                if text != self._problem:
                    expected = isinstance(error, sqlite3.Error)
                    _log.error("the ledger cannot be read: %s", error, exc_info=not expected)
                    self._problem = text


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _narrowed(chunk: Chunk, shown: set[tuple[str, str, str]]) -> Chunk:
    kept = [place for place, labels in enumerate(chunk.labels) if labels in shown]
    moved = {place: new for new, place in enumerate(kept)}
    return Chunk(
        tuple(chunk.labels[place] for place in kept),
        tuple(chunk.values[place] for place in kept),
        tuple(
            veil._replace(position=moved[veil.position])
            for veil in chunk.veils
            if veil.position in moved
        ),
    )
