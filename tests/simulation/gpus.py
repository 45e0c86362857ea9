"""GPU machines: what their sampler reads through the day, metered and shown by the real parts."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from costmeter.clock import Clock
from costmeter.gpu.costs import Costs
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.readings import GpuState, RawReading, Round
from costmeter.gpu.track import Track
from costmeter.metrics.exposition import Exposition
from costmeter.metrics.gpu import GpuCollector
from costmeter.metrics.registry import GuardedRegistry
from costmeter.pricing.node_prices import NodePrices
from costmeter.segment import Owner, Placement
from simulation.workloads import NIGHTLY, OFFICE

#: The longest time between two samples of this simulation counts as answered throughout.
_GAP_MS = 310_000


@dataclass(frozen=True, slots=True)
class Machine:
    """`busy` is the share of time in which a kernel runs when the rhythm stands at 1."""

    name: str
    gpus: int
    gpu_model: str
    memory_gib: int
    watts: int
    rhythm: tuple[float, ...]
    busy: float
    placement: Placement


MACHINES = (
    Machine(
        "gpu-a", 2, "NVIDIA H100 80GB HBM3", 80, 700, OFFICE, 0.36,
        Placement("nebius", instance_type="h100-2x", node="gpu-a",
                  owner=Owner("umbra", "prod", "clinic", purpose="inference")),
    ),
    # Bought for a nightly job and idle for the rest of the day.
    Machine(
        "gpu-b", 1, "NVIDIA L4", 24, 72, NIGHTLY, 0.16,
        Placement("aws", region="us-east-1", instance_type="g6.8xlarge", node="gpu-b",
                  owner=Owner("acme", "prod", "search", purpose="batch")),
    ),
)  # fmt: skip


class Node:
    """One machine with the meter and the page that its exporter has."""

    def __init__(self, machine: Machine, clock: Clock, seed: int) -> None:
        self.machine = machine
        self._clock = clock
        self._pick = random.Random(f"{seed}/{machine.name}")
        uuids = [f"GPU-{machine.name}-{number}" for number in range(machine.gpus)]
        self._tracks = [Track(uuid, _GAP_MS) for uuid in uuids]
        self._state: GpuState | None = None
        self.meter = GpuMeter(
            clock, machine.placement, costs=Costs(NodePrices.load(())), run_id=machine.name,
            segment_seconds=900, longest_gap_seconds=_GAP_MS / 1000,
        )  # fmt: skip
        registry = GuardedRegistry()
        registry.register(GpuCollector(lambda: self._state, machine.name, self.meter.figures))
        self.exposition = Exposition(lambda: None, registry, clock)

    @property
    def instance(self) -> str:
        return f"{self.machine.name}:9953"

    def sample(self) -> None:
        """One pass over the GPUs, as the sampler makes it."""
        now_ms, steady_ms = self._clock.now_ms(), self._clock.monotonic_ms()
        readings = tuple(
            track.take(index, self.machine.gpu_model, self._raw(now_ms, index), now_ms, steady_ms)
            for index, track in enumerate(self._tracks)
        )
        self._state = GpuState(readings, now_ms, steady_ms, 0.4, None, {})
        self.meter.observe(Round(readings))

    def _raw(self, now_ms: int, index: int) -> RawReading:
        machine = self.machine
        moment = datetime.fromtimestamp(now_ms / 1000, UTC)
        hour = machine.rhythm[moment.hour] * (0.35 if moment.weekday() >= 5 else 1.0)
        load = machine.busy * hour * (1 - 0.3 * index) * self._pick.lognormvariate(0, 0.25)
        load = 1 - math.exp(-load)
        watts = machine.watts * (0.12 + 0.8 * load) + self._pick.uniform(-2, 2)
        memory = machine.memory_gib * (0.72 if load > 0.02 else 0.66)
        return RawReading(
            utilization_percent=round(100 * load),
            memory_utilization_percent=round(45 * load),
            memory_used_bytes=round(memory * 2**30),
            memory_total_bytes=machine.memory_gib * 2**30,
            power_mw=round(1000 * watts),
            temperature_celsius=round(34 + 42 * load),
        )
