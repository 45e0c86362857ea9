"""From readings and claims to segments that wait until somebody has booked them."""

from __future__ import annotations

import logging
import os
from collections import deque
from threading import Lock

from costmeter.clock import Clock
from costmeter.gpu.claims import Claims
from costmeter.gpu.costs import Costs, Energy, Prices
from costmeter.gpu.figures import Figures
from costmeter.gpu.gaps import Gaps
from costmeter.gpu.readings import Round
from costmeter.gpu.segments import Closed, Cutter, End
from costmeter.segment import Placement, Segment

log = logging.getLogger("costmeter.gpu")

#: About two weeks of sixteen GPUs by the minute; the ledger refuses what is older.
MOST_WAITING = 320_000


class GpuMeter:
    """Meters the GPUs of one machine. Subscribe `observe` to a Sampler.

    `claims` answers who holds a GPU; without it the placement's owner holds all of them.
    `gaps` remembers over a restart; without it the time between two processes is not booked.
    `costs` counts along, for the page of this machine.

    `drain` hands out what is closed and not confirmed, the same segments each time;
    `confirm` forgets them. One consumer, in any thread. It writes the file of `gaps`
    when there is something new, so call it where a disk may be waited for.
    `longest_gap_seconds` is the sampler's `stale_after_seconds`.
    """

    def __init__(
        self,
        clock: Clock,
        placement: Placement,
        *,
        claims: Claims | None = None,
        costs: Costs | None = None,
        gaps: Gaps | None = None,
        run_id: str | None = None,
        segment_seconds: float = 60,
        longest_gap_seconds: float = 10,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._clock = clock
        self._placement = placement
        self._claims = claims
        self._costs = costs if costs is not None else Costs()
        self._gaps = gaps
        self._run_id = run_id or os.urandom(8).hex()
        self._segment_ms = round(1000 * segment_seconds)
        self._longest_gap_ms = round(1000 * longest_gap_seconds)
        self._most_waiting = most_waiting
        self._cutters: dict[str, Cutter] = {}
        self._lock = Lock()
        self._dropped = 0
        self._removed = 0
        self._handed_from = 0
        self._handed = 0
        # Those of the last process come first; where they end is known to the file already.
        self._waiting: deque[tuple[Segment, End | None]] = deque(
            (segment, None) for segment in (gaps.segments if gaps is not None else ())
        )
        self._ends: dict[str, End] = dict(gaps.ends) if gaps is not None else {}
        self._kept_to = len(self._waiting)

    @property
    def dropped(self) -> int:
        """Segments given up because nobody confirmed any for too long."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """Closed segments that are not confirmed."""
        return len(self._waiting)

    def figures(self) -> Figures:
        """What the page shows of owners and money now; takes a lock for a moment."""
        with self._lock:
            plans = {uuid: cutter.plan for uuid, cutter in self._cutters.items()}
            return self._costs.figures(plans)

    def observe(self, found: Round) -> None:
        """Take in one pass of the sampler."""
        with self._lock:
            for reading in found.readings:
                cutter = self._cutters.get(reading.uuid)
                if cutter is None:
                    cutter = self._cutters[reading.uuid] = self._cutter(reading.uuid)
                self._keep(cutter.feed(reading))
            # Last: a GPU can answer and be lost in one pass, when the driver goes away.
            for uuid in found.lost:
                if uuid in self._cutters:
                    self._keep(self._cutters[uuid].end())
            self._costs.tidy(self._clock.monotonic_ms())

    def drain(self, limit: int | None = None) -> list[Segment]:
        """The oldest closed segments that are not confirmed, at most `limit` of them."""
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            for cutter in self._cutters.values():
                if cutter.silent_for(now_ms) > self._longest_gap_ms:
                    self._keep(cutter.end())
            self._handed = len(self._waiting) if limit is None else min(limit, len(self._waiting))
            self._handed_from = self._removed
            handed = [self._waiting[at] for at in range(self._handed)]
            new = self._removed + self._handed > self._kept_to
            self._kept_to = max(self._kept_to, self._removed + self._handed)
            for uuid, cutter in self._cutters.items():
                if uuid not in self._ends and cutter.began is not None:
                    self._ends[uuid] = cutter.began
                    new = True
        segments = [segment for segment, _ in handed]
        if new and self._gaps is not None:
            for segment, end in handed:
                if end is not None:
                    self._ends[segment.uuid] = end
            self._gaps.keep(self._ends, segments, durable=True)
        return segments

    def confirm(self, count: int) -> None:
        """The first `count` of the last drain are booked for good.

        Raises ValueError when that many were not handed out.
        """
        with self._lock:
            if not 0 <= count <= self._handed:
                raise ValueError(f"{count} segments confirmed, {self._handed} were handed out")
            while self._waiting and self._removed < self._handed_from + count:
                self._waiting.popleft()
                self._removed += 1
            self._handed_from += count
            self._handed -= count
            left = self._kept_to - self._removed
            unsure = [self._waiting[at][0] for at in range(min(left, len(self._waiting)))]
        if self._gaps is not None and count:
            # Not waited for: what is lost of it is offered again, and booked once all the same.
            self._gaps.keep(self._ends, unsure, durable=False)

    def move(self, placement: Placement) -> None:
        """From now on the GPUs are placed otherwise; what is open ends under the old one."""
        with self._lock:
            for cutter in self._cutters.values():
                self._keep(cutter.move(placement))
            self._placement = placement

    def price_by(self, prices: Prices | None, energy: Energy) -> None:
        """From now on the page's estimate goes by these."""
        with self._lock:
            self._costs.change(prices, energy)

    def close(self) -> None:
        """End what is open, at each GPU's last reading; then drain once more."""
        with self._lock:
            for cutter in self._cutters.values():
                self._keep(cutter.end())

    def _cutter(self, uuid: str) -> Cutter:
        return Cutter(
            uuid,
            self._run_id,
            self._placement,
            longest_ms=self._segment_ms,
            claims=self._claims,
            ended=self._gaps.ends.get(uuid) if self._gaps is not None else None,
            accrue=self._costs.add,
        )

    def _keep(self, closed: list[Closed]) -> None:
        self._waiting.extend(closed)
        while len(self._waiting) > self._most_waiting:
            if self._dropped == 0:
                log.error(
                    "GPU time is no longer kept: %d segments wait to be booked; "
                    "the oldest are given up until the ledger takes them",
                    self._most_waiting,
                )
            self._waiting.popleft()
            self._removed += 1
            self._dropped += 1
