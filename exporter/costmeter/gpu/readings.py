"""What the sampler hands out: one reading a GPU, and the state that a scrape sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple


class RawReading(NamedTuple):
    """One GPU's answers at one moment, in NVML's own units; None where it has none."""

    utilization_percent: int | None = None
    memory_utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_mw: int | None = None
    energy_mj: int | None = None
    """The driver's counter; it starts anew with the driver or a reset of the GPU."""
    temperature_celsius: int | None = None


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A GPU that answered, with its counters up to this moment.

    `taken_at_ms` is wall time, `monotonic_ms` steady time. `continuous` says that the
    GPU answered throughout since its previous reading; only such time is metered.
    The counters never fall while the process lives. A None is unknown, never zero.
    """

    index: int
    uuid: str
    model: str
    taken_at_ms: int
    monotonic_ms: int
    continuous: bool
    utilization_percent: int | None = None
    memory_utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_watts: float | None = None
    temperature_celsius: int | None = None
    busy_ms: int | None = None
    idle_ms: int | None = None
    energy_mj: int | None = None

    @property
    def busy_seconds(self) -> float | None:
        return None if self.busy_ms is None else self.busy_ms / 1000

    @property
    def idle_seconds(self) -> float | None:
        return None if self.idle_ms is None else self.idle_ms / 1000

    @property
    def energy_joules(self) -> float | None:
        return None if self.energy_mj is None else self.energy_mj / 1000


class Round(NamedTuple):
    """What one pass over the GPUs brought: new readings, and who stopped answering."""

    readings: tuple[GpuReading, ...]
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuState:
    """The last that is known of every GPU of this machine.

    `sampled_at_ms` and `sampled_monotonic_ms` belong to the newest pass in which no GPU
    kept the sampler waiting; None before the first. `problem` says in plain words why
    nothing is read. `lost` counts by uuid how often a GPU stopped answering.
    """

    readings: tuple[GpuReading, ...] = ()
    sampled_at_ms: int | None = None
    sampled_monotonic_ms: int | None = None
    age_seconds: float | None = None
    problem: str | None = None
    lost: Mapping[str, int] = field(default_factory=dict)

    def seen_at(self, monotonic_ms: int, stale_after_ms: int) -> GpuState:
        """This state as it is worth now: its age, and without readings that are too old."""
        age = (
            None
            if self.sampled_monotonic_ms is None
            else (monotonic_ms - self.sampled_monotonic_ms) / 1000
        )
        fresh = tuple(
            reading
            for reading in self.readings
            if monotonic_ms - reading.monotonic_ms <= stale_after_ms
        )
        return replace(self, readings=fresh, age_seconds=age)
