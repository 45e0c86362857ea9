"""What each family of the GPU's hardware shows: the driver's answers as samples.

The rows read the GPU room's GpuReading, MigInstance and GpuState. A None is unknown and
leaves its sample out. Label values come in the order of the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

Sample = tuple[str, tuple[str, ...], float]
#: A reading of a GPU, and the values of the labels node, gpu, uuid and gpu_model.
Gpu = tuple[Any, tuple[str, ...]]

#: Edges of the histogram's buckets as Prometheus writes them, those of UtilizationSamples.
LE = ("0.0", "0.1", "0.25", "0.5", "0.75", "0.9", "1.0")

#: Every reason that a driver can give; a reason that does not hold shows 0.
THROTTLE_REASONS = (
    "gpu_idle", "applications_clocks", "sw_power_cap", "hw_slowdown", "sync_boost",
    "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake", "display_clocks",
)  # fmt: skip

#: Families of one value for a GPU, by what they read of its activity.
ACTIVITY: Mapping[str, str] = MappingProxyType(
    {
        "gpu_sm_utilization_percent": "sm_utilization_percent",
        "gpu_sm_occupancy_percent": "sm_occupancy_percent",
        "gpu_tensor_utilization_percent": "tensor_utilization_percent",
        "gpu_dram_utilization_percent": "dram_utilization_percent",
        "gpu_fp64_utilization_percent": "fp64_utilization_percent",
        "gpu_fp32_utilization_percent": "fp32_utilization_percent",
        "gpu_fp16_utilization_percent": "fp16_utilization_percent",
        "gpu_encoder_utilization_percent": "encoder_utilization_percent",
        "gpu_decoder_utilization_percent": "decoder_utilization_percent",
        "gpu_memory_free_bytes": "memory_free_bytes",
        "gpu_memory_reserved_bytes": "memory_reserved_bytes",
        "gpu_memory_temperature_celsius": "memory_temperature_celsius",
        "gpu_sm_clock_hertz": "sm_clock_mhz",
        "gpu_memory_clock_hertz": "memory_clock_mhz",
        "gpu_video_clock_hertz": "video_clock_mhz",
        "gpu_performance_state": "performance_state",
        "gpu_pcie_transmit_bytes_per_second": "pcie_transmit_bytes_per_second",
        "gpu_pcie_receive_bytes_per_second": "pcie_receive_bytes_per_second",
        "gpu_nvlink_transmitted_bytes_total": "nvlink_transmitted_bytes",
        "gpu_nvlink_received_bytes_total": "nvlink_received_bytes",
        "gpu_mig_enabled": "mig_enabled",
    }
)

#: The same, of its health.
HEALTH: Mapping[str, str] = MappingProxyType(
    {
        "gpu_power_limit_watts": "power_limit_mw",
        "gpu_shutdown_temperature_celsius": "shutdown_celsius",
        "gpu_slowdown_temperature_celsius": "slowdown_celsius",
        "gpu_max_temperature_celsius": "gpu_max_celsius",
        "gpu_memory_max_temperature_celsius": "memory_max_celsius",
        "gpu_ecc_corrected_volatile_total": "ecc_corrected_volatile",
        "gpu_ecc_uncorrected_volatile_total": "ecc_uncorrected_volatile",
        "gpu_ecc_corrected_aggregate_total": "ecc_corrected_aggregate",
        "gpu_ecc_uncorrected_aggregate_total": "ecc_uncorrected_aggregate",
        "gpu_retirement_pending": "retirement_pending",
        "gpu_row_remap_pending": "remap_pending",
        "gpu_row_remap_failed": "remap_failed",
        "gpu_pcie_replays_total": "pcie_replays",
        "gpu_nvlink_active_links": "nvlink_active_links",
        "gpu_fan_percent": "fan_percent",
    }
)

#: What the integers are multiplied with to come to the unit in the family's name.
_SCALE: Mapping[str, float] = MappingProxyType(
    {
        "gpu_sm_clock_hertz": 10**6,
        "gpu_memory_clock_hertz": 10**6,
        "gpu_video_clock_hertz": 10**6,
        "gpu_power_limit_watts": 0.001,
    }
)

_EXTREMES: Mapping[str, str] = MappingProxyType(
    {
        "gpu_utilization_min_percent": "least",
        "gpu_utilization_max_percent": "greatest",
        "gpu_utilization_mean_percent": "mean",
    }
)

INSTANCE: Mapping[str, str] = MappingProxyType(
    {
        "gpu_mig_compute_slices": "slices",
        "gpu_mig_memory_used_bytes": "memory_used_bytes",
        "gpu_mig_memory_total_bytes": "memory_total_bytes",
        "gpu_mig_utilization_percent": "utilization_percent",
        "gpu_mig_sm_utilization_percent": "sm_utilization_percent",
        "gpu_mig_tensor_utilization_percent": "tensor_utilization_percent",
        "gpu_mig_dram_utilization_percent": "dram_utilization_percent",
    }
)


def hardware_samples(gpus: Sequence[Gpu], xids: Iterable[Any], node: str) -> Iterator[Sample]:
    """The samples of every family here, those of a family together.

    `xids` are the state's XidCounts, which outlive a GPU that is lost.
    """
    if gpus:
        yield from _utilization(gpus)
        yield from _fields(gpus, ACTIVITY, lambda gpu: gpu.activity)
        yield from _fields(gpus, HEALTH, lambda gpu: gpu.health)
        yield from _by_label(gpus)
        yield from _by_cause(gpus)
        yield from _instances(gpus)
    yield from _of_xids(tuple(xids), node)


def _utilization(gpus: Sequence[Gpu]) -> Iterator[Sample]:
    for gpu, labels in gpus:
        if gpu.samples is not None:
            counts = gpu.samples.counts
            for le, count in zip(LE, counts, strict=True):
                yield "gpu_utilization_ratio_bucket", _joined(labels, le), count
            yield "gpu_utilization_ratio_bucket", _joined(labels, "+Inf"), counts[-1]
            yield "gpu_utilization_ratio_count", labels, counts[-1]
            yield "gpu_utilization_ratio_sum", labels, gpu.samples.percent / 100
    for name, field in _EXTREMES.items():
        for gpu, labels in gpus:
            if gpu.extremes is not None:
                yield name, labels, getattr(gpu.extremes, field)


def _fields(
    gpus: Sequence[Gpu], table: Mapping[str, str], part_of: Callable[[Any], Any]
) -> Iterator[Sample]:
    parts = [(part_of(gpu), labels) for gpu, labels in gpus]
    for name, field in table.items():
        scale = _SCALE.get(name)
        for part, labels in parts:
            value = getattr(part, field)
            if value is not None:
                yield (
                    name,
                    labels,
                    int(value)
                    if value is True or value is False
                    else (value if scale is None else value * scale),
                )


def _by_label(gpus: Sequence[Gpu]) -> Iterator[Sample]:
    """Families with one label more than the GPU's own."""
    for gpu, labels in gpus:
        held = gpu.activity.throttle_reasons
        if held is not None:
            for reason in THROTTLE_REASONS:
                yield "gpu_throttle_reason", _joined(labels, reason), int(reason in held)
    for gpu, labels in gpus:
        for reason, ms in gpu.throttled_ms:
            yield "gpu_throttled_seconds_total", _joined(labels, reason), ms / 1000
    for gpu, labels in gpus:
        for kind, count in gpu.health.nvlink_errors or ():
            yield "gpu_nvlink_errors_total", _joined(labels, kind), count
    for gpu, labels in gpus:
        if gpu.processes is not None:
            yield "gpu_processes", labels, len(gpu.processes)


def _by_cause(gpus: Sequence[Gpu]) -> Iterator[Sample]:
    for name, stem in (
        ("gpu_retired_pages", "retired_pages"),
        ("gpu_remapped_rows", "remapped_rows"),
    ):
        for gpu, labels in gpus:
            for cause in ("corrected", "uncorrected"):
                value = getattr(gpu.health, f"{stem}_{cause}")
                if value is not None:
                    yield name, _joined(labels, cause), value


def _instances(gpus: Sequence[Gpu]) -> Iterator[Sample]:
    cut = [
        (one, _joined(labels, f"{one.gpu_instance}/{one.compute_instance}", one.profile))
        for gpu, labels in gpus
        if gpu.mig is not None
        for one in gpu.mig.instances
    ]
    for name, field in INSTANCE.items():
        for one, labels in cut:
            value = getattr(one, field)
            if value is not None:
                yield name, labels, value


def _of_xids(xids: Sequence[Any], node: str) -> Iterator[Sample]:
    for one in xids:
        if not one.xid:
            yield "gpu_xid_errors_total", _xid_labels(node, one), one.times
    for one in xids:
        if one.xid:
            labels = _joined(_xid_labels(node, one), str(one.xid))
            yield "gpu_xid_errors_by_code_total", labels, one.times


def _xid_labels(node: str, one: Any) -> tuple[str, ...]:
    return (node, str(one.gpu), one.uuid, one.model)


@lru_cache(maxsize=8192)
def _joined(labels: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return labels + more
