"""A ledger's door that books in memory, with real identities and real refusals."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from threading import Lock

from costmeter.ledger.door import Busy, Unavailable, Verdict
from costmeter.model import MS_PER_DAY, Correction, Usage


class MemoryDoor:
    """Books at once, unless `stuck`: then batches wait until `release`."""

    def __init__(self, *, queue_events: int = 100_000, retry_after_seconds: int = 3) -> None:
        self.booked: dict[tuple[str, int, str], Usage] = {}
        self.corrected: dict[tuple[str, str], Correction] = {}
        self.broken = ""
        self.stuck = False
        self._queue_events = queue_events
        self._retry_after_seconds = retry_after_seconds
        self._waiting: list[tuple[Sequence[Usage], Future[Sequence[Verdict]]]] = []
        self._lock = Lock()

    @property
    def usages(self) -> list[Usage]:
        with self._lock:
            return list(self.booked.values())

    @property
    def waiting_events(self) -> int:
        with self._lock:
            return sum(len(usages) for usages, _ in self._waiting)

    def submit(self, usages: Sequence[Usage]) -> Future[Sequence[Verdict]]:
        future: Future[Sequence[Verdict]] = Future()
        with self._lock:
            waiting = sum(len(batch) for batch, _ in self._waiting)
            if waiting + len(usages) > self._queue_events:
                raise Busy(self._retry_after_seconds)
            self._waiting.append((usages, future))
        if not self.stuck:
            self.release()
        return future

    def release(self) -> None:
        """Commit everything that waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for usages, future in waiting:
            if self.broken:
                future.set_exception(Unavailable(self.broken))
            else:
                future.set_result([self._book(usage) for usage in usages])

    def correct(self, corrections: Sequence[Correction]) -> Future[Sequence[Verdict]]:
        future: Future[Sequence[Verdict]] = Future()
        if self.broken:
            future.set_exception(Unavailable(self.broken))
        else:
            future.set_result([self._correct(correction) for correction in corrections])
        return future

    def _book(self, usage: Usage) -> Verdict:
        day = usage.at_ms // MS_PER_DAY
        tenant = usage.labels.tenant_id
        with self._lock:
            if any(
                (tenant, near, usage.event_id) in self.booked for near in range(day - 1, day + 2)
            ):
                return Verdict.DUPLICATE
            self.booked[tenant, day, usage.event_id] = usage
        return Verdict.ACCEPTED

    def _correct(self, correction: Correction) -> Verdict:
        if (correction.tenant_id, correction.day, correction.event_id) not in self.booked:
            return Verdict.UNKNOWN
        key = (correction.tenant_id, correction.correction_id)
        if key in self.corrected:
            return Verdict.DUPLICATE
        self.corrected[key] = correction
        return Verdict.ACCEPTED
