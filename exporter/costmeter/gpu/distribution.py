"""How utilisation is spread over the samples, so that a rare scrape misses none of them."""

from __future__ import annotations

from bisect import bisect_left

from costmeter.gpu.readings import UTILIZATION_EDGES, Extremes, UtilizationSamples

#: The extremes are those of the present window of this length and of the one before.
WINDOW_MS = 60_000


class Distribution:
    """Counts one GPU's samples. The counts never fall while the process lives."""

    def __init__(self) -> None:
        self._counts = [0] * len(UTILIZATION_EDGES)
        self._percent = 0
        self._began_ms: int | None = None
        self._now: list[int] = []
        self._before: list[int] = []

    def add(self, percent: int, monotonic_ms: int) -> None:
        for edge in range(bisect_left(UTILIZATION_EDGES, percent), len(self._counts)):
            self._counts[edge] += 1
        self._percent += percent
        if self._began_ms is None or monotonic_ms - self._began_ms >= WINDOW_MS:
            late = self._began_ms is not None and monotonic_ms - self._began_ms >= 2 * WINDOW_MS
            self._before, self._now = [] if late else self._now, []
            self._began_ms = monotonic_ms
        if self._now:
            least, greatest, total, count = self._now
            self._now = [min(least, percent), max(greatest, percent), total + percent, count + 1]
        else:
            self._now = [percent, percent, percent, 1]

    def samples(self) -> UtilizationSamples:
        return UtilizationSamples(tuple(self._counts), self._percent)

    def extremes(self) -> Extremes:
        """Of the last one to two minutes; call it after an `add`."""
        windows = [window for window in (self._now, self._before) if window]
        return Extremes(
            min(window[0] for window in windows),
            max(window[1] for window in windows),
            sum(window[2] for window in windows) / sum(window[3] for window in windows),
        )
