"""The one writer: a thread that commits whatever has queued up as one transaction.

Whoever has usage to book gets a future, which resolves when the commit is on the disk; the
next batch is booked meanwhile. A failure of the disk fails the batch in plain words and the
writer goes on trying with the next.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from msgspec import Struct

from costmeter.ledger.amend import Amendments
from costmeter.ledger.booking import Booking
from costmeter.ledger.door import Busy, Overfull, Unavailable, Verdict
from costmeter.ledger.logsync import LogSync
from costmeter.ledger.metered import HISTORY_FEED
from costmeter.ledger.store import plain_reason
from costmeter.model import Correction, Usage
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.ledger")

#: Events in one transaction. More would make each of them wait longer for its answer.
_GROUP_EVENTS = 2_000
#: A long queue must not keep cells, counters and the heartbeat waiting for longer.
LONGEST_UNFLUSHED_SECONDS = 3.0
#: So long after a failure small writes alone are no proof that all is well again.
_RECOVERY_SECONDS = 3.0
T = TypeVar("T")


class _Work(Struct):
    usages: Sequence[Usage]
    run: Callable[[], Any] | None
    future: Future[Any]
    size: int


class Writer:
    """Implements `Door`. Start it with `start`, stop it with `close`."""

    def __init__(
        self,
        booking: Booking,
        tally: Tally,
        *,
        queue_events: int = 100_000,
        retry_after: int = 1,
        log: LogSync | None = None,
    ) -> None:
        self.booking = booking
        self.amendments = Amendments(booking)
        self._tally = tally
        self._limit = queue_events
        self._retry_after = retry_after
        self._queue: deque[_Work] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._closing = False
        self._problem: str | None = None
        self._failed_at = 0.0
        self._flushed = time.perf_counter()
        self._log = log or LogSync(booking.store.path)
        self._thread = threading.Thread(target=self._loop, name="ledger-writer", daemon=True)

    def start(self) -> None:
        self._log.start()
        self._thread.start()

    def close(self) -> None:
        """Commit what is queued and end the thread; the store stays open."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._log.close()
        self._refuse_the_rest()

    @property
    def problem(self) -> str | None:
        """Why the last transaction failed, in plain words; None while all is well."""
        return self._problem

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def queued_events(self) -> int:
        return self._queued

    def submit(self, usages: Sequence[Usage]) -> Future[Sequence[Verdict]]:
        """Queue usage for booking; raises Busy at once when there is no room."""
        return self._enqueue(_Work(usages, None, Future(), len(usages)))

    def correct(self, corrections: Sequence[Correction]) -> Future[Sequence[Verdict]]:
        """Queue corrections; raises Busy at once when there is no room."""

        def run() -> list[Verdict]:
            return self.amendments.correct(corrections)

        return self._enqueue(_Work((), run, Future(), len(corrections)))

    def import_history(self, usages: Sequence[Usage]) -> Future[Sequence[Verdict]]:
        """Queue usage from before the ledger: in the gauges, never in the counters."""
        marked = [usage._replace(feed=HISTORY_FEED) for usage in usages]

        def run() -> list[Verdict]:
            return self.booking.usages(marked, history=True)

        return self._enqueue(_Work((), run, Future(), len(usages)))

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Queue any other work for a transaction of its own; it is never refused."""
        return self._enqueue(_Work((), work, Future(), 0))

    def _enqueue(self, work: _Work) -> Future[Any]:
        with self._changed:
            if self._closing:
                raise Unavailable("the exporter is shutting down; send again in a moment")
            if work.size and self._queued and self._queued + work.size > self._limit:
                raise Busy(self._retry_after)
            self._queue.append(work)
            self._queued += work.size
            self._changed.notify()
        return work.future

    def _loop(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._queue and not self._closing:
                        self._changed.wait()
                    if not self._queue:
                        break
                    group = self._take_group()
                # Whoever gave up before its turn gets nothing booked; after it, the commit.
                group = [work for work in group if work.future.set_running_or_notify_cancel()]
                if group:
                    self._commit(group)
            # Events that were booked since the last flush belong into the cells.
            self._commit([_Work((), lambda: None, Future(), 0)])
        finally:
            self._refuse_the_rest()

    def _refuse_the_rest(self) -> None:
        """Nobody waits for ever for a thread that has ended, whatever ended it."""
        with self._changed:
            self._closing = True
            left, self._queued = list(self._queue), 0
            self._queue.clear()
        for work in left:
            if work.future.set_running_or_notify_cancel():
                work.future.set_exception(Unavailable("the exporter is shutting down"))

    def _take_group(self) -> list[_Work]:
        """One piece of work that stands alone, or batches of usage up to a group's size."""
        first = self._queue.popleft()
        group, size = [first], first.size
        if first.run is None:
            while self._queue and self._queue[0].run is None:
                if size + self._queue[0].size > _GROUP_EVENTS:
                    break
                size += self._queue[0].size
                group.append(self._queue.popleft())
        self._queued -= size
        return group

    def _commit(self, group: list[_Work]) -> None:
        started = time.perf_counter()
        flush = group[0].run is not None or started - self._flushed > LONGEST_UNFLUSHED_SECONDS
        try:
            if self._log.failed:
                self.booking.store.empty_log()
                self._log.mended()
            results = self.booking.transact(lambda: self._results(group), flush=flush)
        except Exception as error:  # noqa: BLE001 - whatever it is, the writer lives on
            self._failed(group, error)
            return
        if flush:
            self._flushed = started
        if self.booking.durable:
            self._done(group, results, started)
        else:
            self._log.after(
                lambda error: (
                    self._done(group, results, started)
                    if error is None
                    else self._failed(group, error)
                )
            )

    def _done(self, group: list[_Work], results: list[Any], started: float) -> None:
        """Let the answers go: it is on the disk. Runs in the log's thread or in the writer's."""
        self._tally.add("costmeter_ledger_commits_total")
        self._tally.add("costmeter_ledger_commit_seconds_total", by=time.perf_counter() - started)
        # A disk that has no room for a batch may still have some for a heartbeat.
        lasting = started - self._failed_at > _RECOVERY_SECONDS
        if self._problem is not None and (group[0].usages or lasting):
            _log.info("the ledger takes writes again")
            self._problem = None
        for work, result in zip(group, results, strict=True):
            work.future.set_result(result)

    def _results(self, group: Sequence[_Work]) -> list[Any]:
        if group[0].run is not None:
            return [group[0].run()]
        if len(group) == 1:
            return [self.booking.usages(group[0].usages)]
        together = [usage for work in group for usage in work.usages]
        verdicts = self.booking.usages(together)
        results, start = [], 0
        for work in group:
            results.append(verdicts[start : start + work.size])
            start += work.size
        return results

    def _failed(self, group: list[_Work], error: Exception) -> None:
        if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError | OSError):
            code, reason = plain_reason(error, self.booking.store.path)
        elif isinstance(error, Unavailable):
            code, reason = "other" if isinstance(error, Overfull) else "clock", str(error)
        elif len(group) > 1:
            # One batch that cannot be booked must not take the others down.
            for work in group:
                self._commit([work])
            return
        else:
            _log.exception("a write to the ledger failed")
            self._tally.add("costmeter_ledger_write_failures_total", "other")
            group[0].future.set_exception(error)
            return
        self._tally.add("costmeter_ledger_write_failures_total", code)
        self._failed_at = time.perf_counter()
        if reason != self._problem:
            _log.error("%s", reason)
            self._problem = reason
        for work in group:
            work.future.set_exception(Unavailable(reason))
