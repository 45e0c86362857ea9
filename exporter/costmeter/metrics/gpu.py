"""The families of the GPUs of this machine, from the sampler's last state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from costmeter.metrics.catalog import CATALOG, FAMILIES

_Family = CounterMetricFamily | GaugeMetricFamily


class Reading(Protocol):
    """What is shown of one GPU; None is unknown. The GPU room's GpuReading is one."""

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


#: What each family of one GPU shows; None leaves the sample out.
_OF_A_GPU: dict[str, Callable[[Reading], float | None]] = {
    "gpu_utilization_percent": lambda gpu: gpu.utilization_percent,
    "gpu_memory_utilization_percent": lambda gpu: gpu.memory_utilization_percent,
    "gpu_memory_used_bytes": lambda gpu: gpu.memory_used_bytes,
    "gpu_memory_total_bytes": lambda gpu: gpu.memory_total_bytes,
    "gpu_power_watts": lambda gpu: gpu.power_watts,
    "gpu_energy_joules_total": lambda gpu: gpu.energy_joules,
    "gpu_temperature_celsius": lambda gpu: gpu.temperature_celsius,
    "gpu_busy_seconds_total": lambda gpu: gpu.busy_seconds,
    "gpu_idle_seconds_total": lambda gpu: gpu.idle_seconds,
}


class GpuCollector(Collector):
    """Exports what `state` knows now. A family without a sample is left out whole.

    A GPU that does not answer has no samples, its counters included: a flat counter
    would read as an idle GPU that draws no power. They go on from where they stood when
    it answers again. `node` is the value of the label of that name.
    """

    def __init__(self, state: Callable[[], State | None], node: str) -> None:
        self._state = state
        self._node = node

    def describe(self) -> Iterable[Metric]:
        """Every family without samples: registering asks no GPU."""
        return list(_empty().values())

    def collect(self) -> Iterable[Metric]:
        state = self._state()
        if state is None:
            return []
        families = _empty()
        for gpu in state.readings:
            labels = {
                "node": self._node,
                "gpu": str(gpu.index),
                "uuid": gpu.uuid,
                "gpu_model": gpu.model,
            }
            for name, value_of in _OF_A_GPU.items():
                _add(families, name, value_of(gpu), **labels)
        for model, count in sorted(Counter(gpu.model for gpu in state.readings).items()):
            _add(families, "gpu_instance_count", count, node=self._node, gpu_model=model)
        for uuid, times in sorted(state.lost.items()):
            _add(families, "gpu_lost_total", times, node=self._node, uuid=uuid)
        _add(families, "gpu_sample_age_seconds", state.age_seconds, node=self._node)
        return [family for family in families.values() if family.samples]


def _empty() -> dict[str, _Family]:
    made: dict[str, _Family] = {}
    for family in FAMILIES:
        if family.source == "gpu":
            # A counter's name loses its _total here and gets it back in every format.
            build = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            made[family.name] = build(family.name, family.help, labels=family.labels)
    return made


def _add(families: dict[str, _Family], name: str, value: float | None, **labels: str) -> None:
    """One sample, labels by name: prometheus_client would drop surplus ones in silence."""
    if value is None:
        return
    expected = CATALOG[name].labels
    if labels.keys() != set(expected):
        raise ValueError(f"{name} has the labels {expected}, not {tuple(labels)}")
    families[name].add_metric([labels[label] for label in expected], value)
