"""Once a day: do feeds that are only compared tell of the same calls as those that book?"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence

from costmeter.clock import Clock
from costmeter.engine.jobs import Job
from costmeter.engine.schedule import Every
from costmeter.ledger.observed import Observed, observed_on
from costmeter.ledger.store import Store
from costmeter.model import MS_PER_DAY
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.jobs")

JOB = "overlap"
#: Figures of a feed: records that are booked too, and its calls and tokens over the booked ones.
FIGURES = ("llm_observed_overlap_ratio", "llm_observed_calls_ratio", "llm_observed_tokens_ratio")


class Overlap:
    """The figures of yesterday (UTC), read beside the writer: a large day takes a while."""

    def __init__(self, store: Store, clock: Clock, tally: Tally) -> None:
        self._store = store
        self._clock = clock
        self._tally = tally
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._closing = False

    def job(self) -> Job:
        return Job(JOB, Every(3_600), self.begin, "compares observed feeds with what is booked")

    def begin(self) -> str:
        """Read in a thread of its own, unless that is going on; the jobs wait for nothing."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._safely, name=JOB, daemon=True)
            self._thread.start()
        return ""

    def read(self) -> None:
        """Read and show; raises what the database raises."""
        self._connection = connection = self._store.reader()
        try:
            found = observed_on(connection, self._clock.now_ms() // MS_PER_DAY - 1)
        finally:
            self._connection = None
            connection.close()
        self._show(found)

    def close(self) -> None:
        """End a reading that is going on: a shutdown waits for no comparison."""
        self._closing = True
        while self._thread is not None and self._thread.is_alive():
            connection = self._connection
            if connection is not None:
                connection.interrupt()
            self._thread.join(0.05)

    def _safely(self) -> None:
        try:
            self.read()
        except Exception as error:  # noqa: BLE001 - a comparison never stops anything
            if self._closing:
                return
            _log.error("job %s failed: %s", JOB, error)

    def _show(self, found: Sequence[Observed]) -> None:
        wanted: dict[str, dict[tuple[str, str], float]] = {name: {} for name in FIGURES}
        for one in found:
            key = (one.scope, one.feed)
            wanted[FIGURES[0]][key] = one.booked_records / one.records
            if one.booked_calls:
                wanted[FIGURES[1]][key] = one.calls / one.booked_calls
            if one.booked_tokens:
                wanted[FIGURES[2]][key] = one.tokens / one.booked_tokens
        known = self._tally.read()
        for name, figures in wanted.items():
            for gone in known.get(name, {}).keys() - figures.keys():
                self._tally.forget(name, *gone)
            for (scope, feed), ratio in figures.items():
                self._tally.set(name, scope, feed, to=ratio)
