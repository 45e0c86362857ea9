"""What the sampler hands out: one reading a GPU, and the state that a scrape sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

#: The edges of a UtilizationSamples' buckets, in percent; the last bucket is everything.
UTILIZATION_EDGES = (0, 10, 25, 50, 75, 90, 100)


class GpuProcess(NamedTuple):
    """A process that has a context on a GPU. None where the driver does not tell.

    `utilization_percent` is its share of the GPU's time (SM) since the last sample;
    `instance` is the uuid of its MIG instance, "" on a whole GPU.
    """

    pid: int
    memory_used_bytes: int | None = None
    utilization_percent: int | None = None
    instance: str = ""


class MigInstance(NamedTuple):
    """A slice of a GPU: `slices` of the GPU's `MigLayout.slices` compute slices."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str
    slices: int
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    """Memory belongs to the GPU instance: the first of its compute instances has it, the
    others have None, so that a sum counts it once."""
    utilization_percent: int | None = None
    """Where the card offers it (GPM), of the whole GPU instance; None otherwise."""
    sm_utilization_percent: float | None = None
    tensor_utilization_percent: float | None = None
    dram_utilization_percent: float | None = None


class MigLayout(NamedTuple):
    """A GPU in MIG mode: how many compute slices it has (7, or 4), and its instances."""

    slices: int
    instances: tuple[MigInstance, ...] = ()


class Activity(NamedTuple):
    """What a GPU does at this moment; asked in every pass. None is unknown, never zero.

    The percentages from `sm` to `fp16` are averages since the previous pass, by the GPU's own
    performance counters (GPM: Hopper and newer). They are None under MIG, where the
    instances have their own. Bytes a second are those of the last moment, `nvlink_*_bytes`
    are the driver's counters.
    """

    memory_free_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    sm_utilization_percent: float | None = None
    sm_occupancy_percent: float | None = None
    tensor_utilization_percent: float | None = None
    dram_utilization_percent: float | None = None
    fp64_utilization_percent: float | None = None
    fp32_utilization_percent: float | None = None
    fp16_utilization_percent: float | None = None
    encoder_utilization_percent: int | None = None
    decoder_utilization_percent: int | None = None
    memory_temperature_celsius: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    video_clock_mhz: int | None = None
    performance_state: int | None = None
    """0 is the fastest, 15 the slowest."""
    throttle_reasons: frozenset[str] | None = None
    """Why the clocks are what they are; one may be harmless, as `gpu_idle` is."""
    pcie_transmit_bytes_per_second: int | None = None
    pcie_receive_bytes_per_second: int | None = None
    nvlink_transmitted_bytes: int | None = None
    nvlink_received_bytes: int | None = None
    mig_enabled: bool | None = None
    """None where the GPU cannot be cut."""


class Health(NamedTuple):
    """What changes seldom, or takes long to ask: asked some seconds apart. None is unknown.

    Counts are the driver's own. Volatile ones start again with the driver, aggregate
    ones last as long as the card.
    """

    power_limit_mw: int | None = None
    """The limit that holds: the strictest of all that were set."""
    shutdown_celsius: int | None = None
    slowdown_celsius: int | None = None
    gpu_max_celsius: int | None = None
    memory_max_celsius: int | None = None
    ecc_corrected_volatile: int | None = None
    ecc_uncorrected_volatile: int | None = None
    ecc_corrected_aggregate: int | None = None
    ecc_uncorrected_aggregate: int | None = None
    retired_pages_corrected: int | None = None
    """Pages taken out of use after several corrected errors (cards before Ampere)."""
    retired_pages_uncorrected: int | None = None
    retirement_pending: bool | None = None
    remapped_rows_corrected: int | None = None
    """Rows of memory replaced by spare ones (Ampere and newer)."""
    remapped_rows_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    pcie_replays: int | None = None
    nvlink_active_links: int | None = None
    nvlink_errors: tuple[tuple[str, int], ...] | None = None
    """By kind: crc_flit, crc_data, crc, replay, recovery; those that the card counts."""
    fan_percent: int | None = None


class UtilizationSamples(NamedTuple):
    """How many samples had which utilisation, since the process first saw the GPU.

    `counts[i]` are those of at most UTILIZATION_EDGES[i] percent, so they rise from edge to
    edge and the last is the number of all samples. `percent` is their sum.
    """

    counts: tuple[int, ...]
    percent: int


class Extremes(NamedTuple):
    """The least, greatest and mean utilisation in percent over the last whole minute or more."""

    least: int
    greatest: int
    mean: float


NO_ACTIVITY = Activity()
NO_HEALTH = Health()


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
    mig: MigLayout | None = None
    """None where the GPU is not in MIG mode."""
    processes: tuple[GpuProcess, ...] | None = None
    """None where the driver does not list them."""
    activity: Activity = NO_ACTIVITY
    health: Health = NO_HEALTH


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
    mig: MigLayout | None = None
    processes: tuple[GpuProcess, ...] | None = None
    activity: Activity = NO_ACTIVITY
    health: Health = NO_HEALTH
    samples: UtilizationSamples | None = None
    extremes: Extremes | None = None
    throttled_ms: tuple[tuple[str, int], ...] = ()
    """How long each reason held the clocks; empty where the GPU does not tell reasons."""

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


class XidCount(NamedTuple):
    """How often the driver reported an error (Xid) of a GPU; `gpu` is its index.

    `xid` 0 is all of them.
    """

    gpu: int
    uuid: str
    model: str
    xid: int
    times: int


@dataclass(frozen=True, slots=True)
class GpuState:
    """The last that is known of every GPU of this machine.

    `sampled_at_ms` and `sampled_monotonic_ms` belong to the newest pass in which no GPU
    kept the sampler waiting; None before the first. `problem` says in plain words why
    nothing is read. `lost` counts by uuid how often a GPU stopped answering.
    `xids` also tells of a GPU that does not answer: the error may be the reason.
    """

    readings: tuple[GpuReading, ...] = ()
    sampled_at_ms: int | None = None
    sampled_monotonic_ms: int | None = None
    age_seconds: float | None = None
    problem: str | None = None
    lost: Mapping[str, int] = field(default_factory=dict)
    xids: tuple[XidCount, ...] = ()

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
