"""From readings to usage records that wait until somebody has booked them."""

from __future__ import annotations

import logging
import os
from collections import deque
from threading import Lock

from costmeter.clock import Clock
from costmeter.gpu.readings import Round
from costmeter.gpu.segments import Cutter, Placement, Segment, segment_usage
from costmeter.model import Usage

log = logging.getLogger("costmeter.gpu")

#: About two weeks of sixteen GPUs by the minute; the ledger refuses what is older.
MOST_WAITING = 320_000


class GpuMeter:
    """Meters the GPUs of one machine. Subscribe `observe` to a Sampler.

    `drain` hands out what is closed and not confirmed, with the same ids each time;
    `confirm` forgets it. One consumer, in any thread. `longest_gap_seconds` is the
    sampler's `stale_after_seconds`.
    """

    def __init__(
        self,
        clock: Clock,
        placement: Placement,
        *,
        run_id: str | None = None,
        segment_seconds: float = 60,
        longest_gap_seconds: float = 10,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._clock = clock
        self._placement = placement
        self._run_id = run_id or os.urandom(8).hex()
        self._segment_ms = round(1000 * segment_seconds)
        self._longest_gap_ms = round(1000 * longest_gap_seconds)
        self._most_waiting = most_waiting
        self._cutters: dict[str, Cutter] = {}
        self._waiting: deque[tuple[Segment, Placement]] = deque()
        self._lock = Lock()
        self._dropped = 0
        self._removed = 0
        self._handed_from = 0
        self._handed = 0

    @property
    def dropped(self) -> int:
        """Segments given up because nobody confirmed any for too long."""
        return self._dropped

    def observe(self, found: Round) -> None:
        """Take in one pass of the sampler."""
        with self._lock:
            for reading in found.readings:
                cutter = self._cutters.get(reading.uuid)
                if cutter is None:
                    cutter = Cutter(reading.uuid, self._run_id, self._segment_ms)
                    self._cutters[reading.uuid] = cutter
                self._keep(cutter.feed(reading))
            # Last: a GPU can answer and be lost in one pass, when the driver goes away.
            for uuid in found.lost:
                if uuid in self._cutters:
                    self._keep(self._cutters[uuid].end())

    def drain(self, limit: int | None = None) -> list[Usage]:
        """The oldest closed segments that are not confirmed, at most `limit` of them."""
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            for cutter in self._cutters.values():
                if cutter.silent_for(now_ms) > self._longest_gap_ms:
                    self._keep(cutter.end())
            self._handed = len(self._waiting) if limit is None else min(limit, len(self._waiting))
            self._handed_from = self._removed
            return [
                segment_usage(segment, placement)
                for (segment, placement), _ in zip(self._waiting, range(self._handed), strict=False)
            ]

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

    def move(self, placement: Placement) -> None:
        """From now on the GPUs are placed otherwise; what is open ends under the old one."""
        with self._lock:
            for cutter in self._cutters.values():
                self._keep(cutter.cut())
            self._placement = placement

    def close(self) -> None:
        """End what is open, at each GPU's last reading; then drain once more."""
        with self._lock:
            for cutter in self._cutters.values():
                self._keep(cutter.end())

    def _keep(self, closed: list[Segment]) -> None:
        self._waiting.extend((segment, self._placement) for segment in closed)
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
