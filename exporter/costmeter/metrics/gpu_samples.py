"""The samples of the GPUs of this machine, made once for every page that shows them.

No prometheus_client here: the agent renders its page without it. Label values come in the
order of the catalog, and the same tuples come again with the next page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from costmeter.metrics.gpu_hardware import hardware_samples

Sample = tuple[str, tuple[str, ...], float]


class Reading(Protocol):
    """What is shown of one GPU; None is unknown. The GPU room's GpuReading is one, and has
    what the families of the hardware show, too."""

    @property
    def index(self) -> int: ...
    @property
    def uuid(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def utilization_percent(self) -> int | None: ...
    @property
    def memory_utilization_percent(self) -> int | None: ...
    @property
    def memory_used_bytes(self) -> int | None: ...
    @property
    def memory_total_bytes(self) -> int | None: ...
    @property
    def power_watts(self) -> float | None: ...
    @property
    def energy_joules(self) -> float | None: ...
    @property
    def temperature_celsius(self) -> int | None: ...
    @property
    def busy_seconds(self) -> float | None: ...
    @property
    def idle_seconds(self) -> float | None: ...


class State(Protocol):
    """What is shown of this machine's GPUs; the GPU room's GpuState is one."""

    @property
    def readings(self) -> Sequence[Reading]: ...
    @property
    def age_seconds(self) -> float | None: ...
    @property
    def lost(self) -> Mapping[str, int]: ...
    @property
    def xids(self) -> Sequence[Any]: ...


class Owned(Protocol):
    """One owner's counters; the GPU room's OwnerFigures is one. Money in nano-USD."""

    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def allocated(self) -> bool: ...
    @property
    def used_ms(self) -> float: ...
    @property
    def idle_ms(self) -> float: ...
    @property
    def energy_mj(self) -> float | None: ...
    @property
    def used_nano(self) -> int | None: ...
    @property
    def idle_nano(self) -> int | None: ...
    @property
    def unallocated_nano(self) -> int | None: ...
    @property
    def energy_nano(self) -> int | None: ...
    @property
    def co2_micrograms(self) -> int | None: ...


class Metered(Protocol):
    """What is metered of one GPU; the GPU room's GpuFigures is one."""

    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def holder(self) -> tuple[str, str, str]: ...
    @property
    def allocated_ratio(self) -> float | None: ...
    @property
    def unallocated_ms(self) -> float: ...
    @property
    def unobserved_ms(self) -> float: ...
    @property
    def unpriced_ms(self) -> float: ...
    @property
    def unobserved_nano(self) -> int | None: ...
    @property
    def cost_nano(self) -> int | None: ...
    @property
    def nano_per_hour(self) -> int | None: ...


class Figures(Protocol):
    """What the meter counted; the GPU room's Figures is one."""

    @property
    def gpus(self) -> Mapping[str, Metered]: ...
    @property
    def owners(self) -> Sequence[Owned]: ...
    @property
    def owners_now(self) -> Sequence[tuple[str, ...]]: ...


#: What each family of one GPU shows; None leaves the sample out.
_OF_A_GPU: dict[str, Callable[[Reading], float | None]] = {
    "gpu_memory_utilization_percent": lambda gpu: gpu.memory_utilization_percent,
    "gpu_memory_total_bytes": lambda gpu: gpu.memory_total_bytes,
    "gpu_energy_joules_total": lambda gpu: gpu.energy_joules,
    "gpu_temperature_celsius": lambda gpu: gpu.temperature_celsius,
    "gpu_busy_seconds_total": lambda gpu: gpu.busy_seconds,
    "gpu_idle_seconds_total": lambda gpu: gpu.idle_seconds,
}

#: Gauges that also tell who holds the whole GPU: empty for nobody, and for several.
_OF_A_HELD_GPU: dict[str, Callable[[Reading], float | None]] = {
    "gpu_utilization_percent": lambda gpu: gpu.utilization_percent,
    "gpu_memory_used_bytes": lambda gpu: gpu.memory_used_bytes,
    "gpu_power_watts": lambda gpu: gpu.power_watts,
}

_METERED: dict[str, Callable[[Metered], float | None]] = {
    "gpu_allocated_ratio": lambda gpu: gpu.allocated_ratio,
    "gpu_unallocated_seconds_total": lambda gpu: gpu.unallocated_ms / 1000,
    "gpu_unobserved_seconds_total": lambda gpu: gpu.unobserved_ms / 1000,
    "gpu_unpriced_seconds_total": lambda gpu: gpu.unpriced_ms / 1000,
    "gpu_unobserved_cost_usd_total": lambda gpu: _usd(gpu.unobserved_nano),
    "gpu_accrued_cost_usd_total": lambda gpu: _usd(gpu.cost_nano),
    "gpu_price_usd_per_hour": lambda gpu: _usd(gpu.nano_per_hour),
}
_NOBODY = ("", "", "")


def samples(state: State, figures: Figures | None, node: str) -> Iterator[Sample]:
    """What is known now: (family, label values, value), the samples of a family together.

    A histogram's samples have its name with `_bucket`, `_count` or `_sum`, and a bucket the
    further label `le`. `figures` is None where nothing is metered. A family without a sample
    does not occur.
    """
    gpus = [
        (gpu, _with_node(node, (str(gpu.index), gpu.uuid, gpu.model))) for gpu in state.readings
    ]
    metered = figures.gpus if figures is not None else {}
    for name, value_of in _OF_A_HELD_GPU.items():
        for gpu, labels in gpus:
            if (value := value_of(gpu)) is not None:
                holder = metered[gpu.uuid].holder if gpu.uuid in metered else _NOBODY
                yield name, _joined(labels, holder), value
    for name, value_of in _OF_A_GPU.items():
        for gpu, labels in gpus:
            if (value := value_of(gpu)) is not None:
                yield name, labels, value
    yield from hardware_samples(gpus, state.xids, node)
    for model, count in sorted(Counter(gpu.model for gpu in state.readings).items()):
        yield "gpu_instance_count", _with_node(node, (model,)), count
    for uuid, times in sorted(state.lost.items()):
        yield "gpu_lost_total", _with_node(node, (uuid,)), times
    if state.age_seconds is not None:
        yield "gpu_sample_age_seconds", (node,), state.age_seconds
    if figures is not None:
        answering = {gpu.uuid for gpu in state.readings}
        yield from _of_metered(figures, answering, node)
        yield from _of_owners(figures, node)


def _of_metered(figures: Figures, answering: set[str], node: str) -> Iterator[Sample]:
    for name, value_of in _METERED.items():
        for uuid, gpu in figures.gpus.items():
            if uuid in answering and (value := value_of(gpu)) is not None:
                yield name, _with_node(node, gpu.labels), value


def _of_owners(figures: Figures, node: str) -> Iterator[Sample]:
    owners = [(one, _with_node(node, one.labels)) for one in figures.owners]
    for name, value_of in _OWNED.items():
        for one, labels in owners:
            if (value := value_of(one)) is not None:
                yield name, labels, value
    for labels in figures.owners_now:
        yield "gpu_owner_info", _with_node(node, labels), 1


def _cost(one: Owned) -> float | None:
    used, idle, unallocated = one.used_nano, one.idle_nano, one.unallocated_nano
    if used is None or idle is None or unallocated is None:
        return None
    return (used + idle + unallocated) / 10**9


#: What each family of owners shows. What nobody holds has neither used nor idle time.
_OWNED: dict[str, Callable[[Owned], float | None]] = {
    "gpu_owner_used_seconds_total": lambda one: one.used_ms / 1000 if one.allocated else None,
    "gpu_owner_idle_seconds_total": lambda one: one.idle_ms / 1000 if one.allocated else None,
    "gpu_owner_energy_joules_total": lambda one: (
        None if one.energy_mj is None else one.energy_mj / 1000
    ),
    "gpu_cost_usd_total": _cost,
    "gpu_used_cost_usd_total": lambda one: _usd(one.used_nano) if one.allocated else None,
    "gpu_idle_cost_usd_total": lambda one: _usd(one.idle_nano) if one.allocated else None,
    "gpu_unallocated_cost_usd_total": lambda one: (
        None if one.allocated else _usd(one.unallocated_nano)
    ),
    "gpu_energy_cost_usd_total": lambda one: _usd(one.energy_nano),
    "gpu_co2_grams_total": lambda one: (
        None if one.co2_micrograms is None else one.co2_micrograms / 10**6
    ),
}


def _usd(nano: int | None) -> float | None:
    return None if nano is None else nano / 10**9


@lru_cache(maxsize=8192)
def _with_node(node: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    return (node, *labels)


@lru_cache(maxsize=1024)
def _joined(labels: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return labels + more
