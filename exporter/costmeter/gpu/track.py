"""One GPU's counters, integrated from its readings on the steady clock."""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType

from costmeter.gpu.distribution import Distribution
from costmeter.gpu.readings import GpuReading, GpuState, RawReading, XidCount


class Track:
    """Follows one GPU through losses and returns; its counters never fall.

    A gap of more than `longest_gap_ms` between two answers, or a loss, is time in which
    nothing is known: it is neither busy nor idle. Not thread-safe; the sampler owns it.
    """

    def __init__(self, uuid: str, longest_gap_ms: int) -> None:
        self.uuid = uuid
        self.lost = False
        self.times_lost = 0
        self.last: GpuReading | None = None
        self._longest_gap_ms = longest_gap_ms
        self._unbroken = False
        self._answered_ms = 0
        self._busy_percent_ms = 0
        self._utilization_known = False
        self._energy_mj: int | None = None
        self._driver_energy_mj: int | None = None
        self._power_mw: int | None = None
        self._distribution = Distribution()
        self._throttled_ms: dict[str, int] = {}
        self._xids: dict[int, int] = {}

    def lose(self) -> bool:
        """The GPU stopped answering; False when that was known already."""
        self._unbroken = False
        if self.lost:
            return False
        self.lost = True
        self.times_lost += self.last is not None
        return True

    def take(
        self, index: int, model: str, raw: RawReading, taken_at_ms: int, monotonic_ms: int
    ) -> GpuReading:
        """The reading with its counters; ends a loss."""
        elapsed_ms = 0
        continuous = False
        if self.last is not None and self._unbroken:
            elapsed_ms = monotonic_ms - self.last.monotonic_ms
            continuous = elapsed_ms <= self._longest_gap_ms
        answered_ms = elapsed_ms if continuous else 0
        self._take_utilization(raw.utilization_percent, answered_ms)
        self._take_energy(raw, answered_ms)
        self._take_reasons(raw.activity.throttle_reasons, answered_ms)
        percent = raw.utilization_percent
        if percent is not None:
            self._distribution.add(percent, monotonic_ms)
        busy_ms = self._busy_percent_ms // 100
        reading = GpuReading(
            index=index,
            uuid=self.uuid,
            model=model,
            taken_at_ms=taken_at_ms,
            monotonic_ms=monotonic_ms,
            continuous=continuous,
            utilization_percent=raw.utilization_percent,
            memory_utilization_percent=raw.memory_utilization_percent,
            memory_used_bytes=raw.memory_used_bytes,
            memory_total_bytes=raw.memory_total_bytes,
            power_watts=None if raw.power_mw is None else raw.power_mw / 1000,
            temperature_celsius=raw.temperature_celsius,
            busy_ms=busy_ms if self._utilization_known else None,
            idle_ms=self._answered_ms - busy_ms if self._utilization_known else None,
            energy_mj=self._energy_mj,
            mig=raw.mig,
            processes=raw.processes,
            activity=raw.activity,
            health=raw.health,
            samples=None if percent is None else self._distribution.samples(),
            extremes=None if percent is None else self._distribution.extremes(),
            throttled_ms=tuple(self._throttled_ms.items()),
        )
        self.last = reading
        self.lost = False
        self._unbroken = True
        return reading

    def report(self, xid: int) -> None:
        """Count an error that the driver reported; `xid` 0 says that it would report them."""
        self._xids.setdefault(0, 0)
        if xid:
            self._xids[0] += 1
            self._xids[xid] = self._xids.get(xid, 0) + 1

    def xids(self) -> list[XidCount]:
        """What was reported, also while the GPU is lost."""
        last = self.last
        if last is None:
            return []
        return [
            XidCount(last.index, self.uuid, last.model, xid, count)
            for xid, count in sorted(self._xids.items())
        ]

    def _take_reasons(self, reasons: frozenset[str] | None, answered_ms: int) -> None:
        for reason in reasons or ():
            self._throttled_ms[reason] = self._throttled_ms.get(reason, 0) + answered_ms

    def _take_utilization(self, percent: int | None, answered_ms: int) -> None:
        # NVML's figure describes the time that ends with the answer.
        self._utilization_known = percent is not None
        if percent is not None:
            self._answered_ms += answered_ms
            self._busy_percent_ms += answered_ms * percent

    def _take_energy(self, raw: RawReading, answered_ms: int) -> None:
        """The driver's own counter where it has one and it rose, else power x time.

        The counter also knows what was used while nobody could ask, so its rise over a
        loss counts. After a reset of the GPU it starts again from nothing.
        """
        before, now = self._driver_energy_mj, raw.energy_mj
        power_before = raw.power_mw if self._power_mw is None else self._power_mw
        self._driver_energy_mj, self._power_mw = now, raw.power_mw
        if now is None and raw.power_mw is None:
            return
        used_mj = 0
        if now is not None and before is not None and now >= before:
            used_mj = now - before
        elif raw.power_mw is not None and power_before is not None:
            # Milliwatts x milliseconds are microjoules; the mean of both ends.
            used_mj = (power_before + raw.power_mw) * answered_ms // 2000
        self._energy_mj = (self._energy_mj or 0) + used_mj


def state_of(
    tracks: Collection[Track], problem: str | None, complete: tuple[int, int] | None
) -> GpuState:
    """What is known of these GPUs; `complete` is the wall and steady time of the last full pass."""
    answering = [track.last for track in tracks if track.last is not None and not track.lost]
    if problem is None and tracks and not answering:
        problem = "no GPU answers"
    taken_at_ms, monotonic_ms = complete or (None, None)
    return GpuState(
        readings=tuple(sorted(answering, key=lambda reading: reading.index)),
        sampled_at_ms=taken_at_ms,
        sampled_monotonic_ms=monotonic_ms,
        problem=problem,
        lost=MappingProxyType({t.uuid: t.times_lost for t in tracks if t.last is not None}),
        xids=tuple(one for track in tracks for one in track.xids()),
    )
