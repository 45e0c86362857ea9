"""Events in memory between their encoding and the server's answer."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Sequence
from itertools import count, islice
from threading import Lock

from costmeter.sdk.event import Line


class Outbox:
    """A bounded queue of lines, with the batch that is on its way and what must wait.

    Whoever holds a batch gives it back with `finish`. `drain` takes everything away, also a
    batch on its way; its `finish` is then refused, so that each event is counted by one.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = Lock()
        self._ready: deque[Line] = deque()
        self._flight: Sequence[Line] | None = None
        self._later: list[tuple[float, int, Line]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._ready) + len(self._flight or ()) + len(self._later)

    @property
    def ready(self) -> bool:
        """True when `start` has something to give."""
        return bool(self._ready) or self.due_in() == 0

    def due_in(self) -> float | None:
        """Seconds until an event that waits may be sent again; None when none waits."""
        with self._lock:
            return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def put(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Take what there is room for; the rest."""
        with self._lock:
            room = max(0, self.capacity - len(self))
            self._ready.extend(lines[:room])
        return lines[room:]

    def start(self, most: int) -> Sequence[Line]:
        """The next batch, which is now on its way."""
        with self._lock:
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                self._ready.append(heapq.heappop(self._later)[2])
            batch = tuple(islice(self._ready, most))
            for _ in batch:
                self._ready.popleft()
            self._flight = batch or None
        return batch

    def finish(self, batch: Sequence[Line], again: Sequence[Line] = ()) -> bool:
        """End a batch; `again` goes back to the front. False when `drain` took it away."""
        with self._lock:
            if self._flight is not batch:
                return False
            self._flight = None
            self._ready.extendleft(reversed(again))
            return True

    def restore(self, lines: Sequence[Line]) -> None:
        """Put lines back to the front that had left it; they have their room already."""
        with self._lock:
            self._ready.extendleft(reversed(lines))

    def postpone(self, lines: Sequence[Line], seconds: float) -> Sequence[Line]:
        """Send these again after that time; what there is no room for."""
        with self._lock:
            room = max(0, self.capacity - len(self))
            due = time.monotonic() + seconds
            for line in lines[:room]:
                heapq.heappush(self._later, (due, next(self._order), line))
        return lines[room:]

    def drain(self) -> list[Line]:
        """Everything, out of whoever's hands."""
        with self._lock:
            lines = [*(self._flight or ()), *self._ready, *(line for _, _, line in self._later)]
            self._flight = None
            self._ready.clear()
            self._later.clear()
        return lines
