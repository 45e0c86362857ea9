"""GPU nodes with agents: jobs come and go, pods hold whole GPUs and MIG instances.

Pages alone: what these agents would forward is booked nowhere, so the ledger of the platform is
the same with them and without. Sampler, meter, attribution's answers, money and pages are the
real parts; only the hardware and the jobs are made up, the jobs by a trace of how much of a
cluster was allocated.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from costmeter.agent.page import Page, Sample
from costmeter.clock import Clock
from costmeter.gpu.claims import Claim
from costmeter.gpu.costs import Costs, Energy
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.readings import (
    Activity,
    GpuReading,
    Health,
    MigInstance,
    MigLayout,
    RawReading,
    Round,
)
from costmeter.gpu.track import Track, state_of
from costmeter.metrics.gpu_samples import samples
from costmeter.model import MS_PER_HOUR
from costmeter.pricing.node_prices import NodePrices
from costmeter.segment import Owner, Placement
from simulation.model_servers import ModelServers
from simulation.traces import Allocated, helios, twin
from simulation.workloads import OFFICE

_GAP_MS = 310_000
_TARIFF = Energy(nano_per_kwh=140_000_000, grams_co2_per_kwh=None)
_SPOOL_LIMIT = 256 * 2**20


class Job(NamedTuple):
    """A pod, and how busy it keeps its GPUs; `office` only at people's hours."""

    owner: Owner
    busy: float
    office: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    gpus: int
    gpu_model: str
    memory_gib: int
    watts: int
    placement: Placement


TRAIN = Kind(
    "gpu-train-1", 8, "NVIDIA A100-SXM4-80GB", 80, 400,
    Placement("aws", region="us-east-1", instance_type="p4de.24xlarge", node="gpu-train-1"),
)  # fmt: skip
SERVE = Kind(
    "gpu-serve-1", 4, "NVIDIA H100 80GB HBM3", 80, 700,
    Placement("nebius", instance_type="h100-4x", node="gpu-serve-1"),
)  # fmt: skip

#: Who trains, in turn: the pod's name, and how busy its GPUs are.
_TRAINERS = (
    (
        Owner("acme", "prod", "search", namespace="search", pod="ranker-train", container="main"),
        0.9,
    ),
    (Owner("globex", "prod", "vision", namespace="vision", pod="detector", container="main"), 0.74),
    (Owner("initech", "dev", "lab", namespace="lab", pod="notebook", container="jupyter"), 0.02),
    (Owner("acme", "dev", "search", namespace="search", pod="sweep", container="main"), 0.45),
    (Owner("umbra", "prod", "clinic", namespace="clinic", pod="scans", container="main"), 0.82),
    (Owner("globex", "dev", "vision", namespace="vision", pod="debug", container="main"), 0.06),
)
_CHAT = Owner("acme", "prod", "chat", namespace="chat", container="vllm")
_RAG = Owner("globex", "prod", "rag", namespace="rag", pod="embed-0", container="server")
_SERVERS = (
    Job(_CHAT._replace(pod="vllm-chat-0"), 0.9, office=True),
    Job(_CHAT._replace(pod="vllm-chat-1"), 0.5, office=True),
    Job(_RAG, 0.3),
)
#: The last GPU of SERVE is cut: profile, slices, who holds it (None: nobody), how busy.
_CUT = (
    ("3g.40gb", 3, Owner("initech", "dev", "lab", namespace="lab", pod="jupyter-ann"), 0.04),
    ("2g.20gb", 2, Owner("umbra", "prod", "clinic", namespace="clinic", pod="triage-0"), 0.55),
    ("1g.10gb", 1, None, 0.0),
)


class Agent:
    """One node and the page of its agent."""

    def __init__(self, kind: Kind, clock: Clock, seed: int) -> None:
        self.kind = kind
        self._clock = clock
        self._pick = random.Random(f"{seed}/{kind.name}")
        self._tracks = [Track(f"GPU-{kind.name}-{n}", _GAP_MS) for n in range(kind.gpus)]
        for track in self._tracks:
            track.report(0)
        self._jobs: dict[str, Job | None] = {track.uuid: None for track in self._tracks}
        self._since_ms = clock.now_ms()
        self._page = Page()
        self._sampled = clock.monotonic_ms()
        energy = _TARIFF._replace(grams_co2_per_kwh=lambda: _grams(clock.now_ms()))
        self._meter = GpuMeter(
            clock, kind.placement, claims=self, costs=Costs(NodePrices.load(()), energy),
            run_id=kind.name, segment_seconds=900, longest_gap_seconds=_GAP_MS / 1000,
        )  # fmt: skip
        jobs = zip(self._tracks, _SERVERS, strict=False) if kind is SERVE else ()
        self._servers = ModelServers(
            {track.uuid: job.owner for track, job in jobs}, self._meter.figures, clock
        )

    @property
    def instance(self) -> str:
        return f"{self.kind.name}:9953"

    def of(self, reading: GpuReading) -> tuple[Claim, ...]:
        """Attribution's answer."""
        if reading.mig is not None:
            held = zip(reading.mig.instances, _CUT, strict=True)
            return tuple(Claim(cut[2], one.uuid) for one, cut in held if cut[2] is not None)
        job = self._jobs[reading.uuid]
        return () if job is None else (Claim(job.owner),)

    def sample(self) -> None:
        """One pass over the GPUs, as the sampler makes it."""
        now_ms, steady_ms = self._clock.now_ms(), self._clock.monotonic_ms()
        self.assign(now_ms)
        readings, lost = [], []
        for index, track in enumerate(self._tracks):
            if self.gone(index, now_ms):
                if track.lose():
                    track.report(79)
                    lost.append(track.uuid)
                continue
            if self._jobs[track.uuid] is not None and self._pick.random() < 0.0004:
                track.report(self._pick.choice((13, 31, 43)))
            raw = self._raw(now_ms, index)
            passed_s = (steady_ms - self._sampled) / 1000
            self._servers.serve(track.uuid, raw.utilization_percent, passed_s)
            model = self.kind.gpu_model
            readings.append(track.take(index, model, raw, now_ms, steady_ms))
        self._sampled = steady_ms
        self._meter.observe(Round(tuple(readings), tuple(lost)))
        self._meter.confirm(len(self._meter.drain()))
        self._servers.look()

    def page(self) -> bytes:
        steady_ms = self._clock.monotonic_ms()
        state = state_of(self._tracks, None, (self._clock.now_ms(), self._sampled))
        state = state.seen_at(steady_ms + 400, _GAP_MS)
        found = [*samples(state, self._meter.figures(), self.kind.name), *self._own()]
        found += self._servers.samples(self.kind.name)
        # A line for each reason of each GPU; the counters of the same tell more.
        found = [sample for sample in found if sample[0] != "gpu_throttle_reason"]
        return self._page.render(found, openmetrics=False)

    def assign(self, now_ms: int) -> None:
        """Give out the GPUs for this instant."""
        for track, job in zip(self._tracks, _SERVERS, strict=False):
            self._jobs[track.uuid] = job

    def gone(self, index: int, now_ms: int) -> bool:
        return False

    def _raw(self, now_ms: int, index: int) -> RawReading:
        kind, track = self.kind, self._tracks[index]
        cut = kind is SERVE and index == kind.gpus - 1
        load = self._cut_load() if cut else self._load(self._jobs[track.uuid], now_ms)
        heat = 33 + 47 * load + (9 if index == 2 else 0) + self._pick.uniform(-1, 1)
        reasons = {"gpu_idle"} if load < 0.01 else {"sw_power_cap"} if load > 0.93 else set()
        if heat > 83:
            reasons.add("sw_thermal_slowdown")
        watts = kind.watts * (0.13 + 0.8 * load) + self._pick.uniform(-2, 2)
        known = None if cut else round(100 * load)
        return RawReading(
            utilization_percent=known,
            memory_utilization_percent=None if cut else round(52 * load),
            memory_used_bytes=round(kind.memory_gib * (0.04 + 0.7 * (load > 0.005)) * 2**30),
            memory_total_bytes=kind.memory_gib * 2**30,
            power_mw=round(1000 * watts),
            temperature_celsius=round(heat),
            mig=self._layout(track.uuid) if cut else None,
            activity=Activity(throttle_reasons=frozenset(reasons)),
            health=Health(
                power_limit_mw=1000 * kind.watts,
                ecc_corrected_volatile=(now_ms - self._since_ms)
                // (19 * MS_PER_HOUR)
                * (index == 2),
                ecc_uncorrected_volatile=0,
            ),
        )

    def _load(self, job: Job | None, now_ms: int) -> float:
        if job is None:
            return 0.0
        moment = datetime.fromtimestamp(now_ms / 1000, UTC)
        rhythm = 1.0
        if job.office:
            rhythm = OFFICE[moment.hour] / 2.4 * (0.35 if moment.weekday() >= 5 else 1.0)
        load = job.busy * rhythm * self._pick.lognormvariate(0, 0.12)
        return min(1.0, max(0.0, load if job.busy > 0.1 else load * (self._pick.random() < 0.2)))

    def _cut_load(self) -> float:
        return sum(slices * busy for _, slices, _, busy in _CUT) / 7

    def _layout(self, uuid: str) -> MigLayout:
        return MigLayout(
            7,
            tuple(
                MigInstance(
                    f"MIG-{uuid}-{at}", at + 1, 0, profile, slices,
                    memory_used_bytes=slices * 4 * 2**30, memory_total_bytes=slices * 10 * 2**30,
                    utilization_percent=round(100 * busy * self._pick.uniform(0.8, 1.2)),
                )
                for at, (profile, slices, _, busy) in enumerate(_CUT)
            ),
        )  # fmt: skip

    def _own(self) -> Iterator[Sample]:
        """What an agent tells of its spool. Once in a while the server cannot be reached."""
        now_ms = self._clock.now_ms()
        hours = (now_ms + (2 if self.kind is TRAIN else 0) * MS_PER_HOUR) / MS_PER_HOUR % 61
        age = 3600 * hours if hours < 2 else 15.0 + self._pick.uniform(0, 10)
        segments = round(age / 60 * self.kind.gpus)
        running_s = (now_ms - self._since_ms) / 1000
        yield "costmeter_agent_build_info", ("0.1.0", "3.11.2"), 1
        yield "costmeter_agent_gpus", (), self.kind.gpus
        yield "costmeter_agent_forwarding", (), 1
        yield "costmeter_agent_spool_bytes", (), segments * 420
        yield "costmeter_agent_spool_limit_bytes", (), _SPOOL_LIMIT
        yield "costmeter_agent_spool_segments", (), segments
        yield "costmeter_agent_spool_oldest_age_seconds", (), age
        yield "costmeter_agent_spool_usable", (), 1
        sent = math.floor(running_s / 60 * self.kind.gpus)
        yield "costmeter_agent_segments_forwarded_total", ("accepted",), sent
        yield "costmeter_agent_segments_dropped_total", ("spool_full",), 0
        failures = math.floor(running_s / 3600 / 61 * 24)
        yield "costmeter_agent_forward_failures_total", ("network",), failures
        yield "costmeter_agent_resident_memory_bytes", (), 26 * 2**20


class Trainer(Agent):
    """Its GPUs are given to as many jobs as the trace has allocated."""

    def __init__(self, kind: Kind, clock: Clock, seed: int, allocated: Allocated) -> None:
        super().__init__(kind, clock, seed)
        self._allocated = allocated
        self._started = 0
        self._lost_ms = clock.now_ms()

    def assign(self, now_ms: int) -> None:
        wanted = round(self._allocated(now_ms) * self.kind.gpus)
        held = [uuid for uuid, job in self._jobs.items() if job is not None]
        free = [uuid for uuid, job in self._jobs.items() if job is None]
        while len(held) > wanted:
            # Whoever is there longest goes, with one GPU.
            self._jobs[held.pop(self._pick.randrange(len(held)))] = None
        if len(held) < wanted:
            owner, busy = _TRAINERS[self._started % len(_TRAINERS)]
            self._started += 1
            job = Job(owner._replace(pod=f"{owner.pod}-{self._started}"), busy)
            for uuid in free[: wanted - len(held)]:
                self._jobs[uuid] = job

    def gone(self, index: int, now_ms: int) -> bool:
        """One GPU falls off the bus for five hours, some way through each ninth day."""
        hours = (now_ms - self._lost_ms) / MS_PER_HOUR % (9 * 24)
        return index == 6 and 7 * 24 + 4 <= hours < 7 * 24 + 9


def fleet(clock: Clock, seed: int, trace: str) -> list[Agent]:
    """The nodes. `trace` is a virtual cluster of Helios, or "" for made-up jobs."""
    allocated = helios(trace) if trace else twin(seed)
    return [Trainer(TRAIN, clock, seed, allocated), Agent(SERVE, clock, seed)]


def _grams(at_ms: int) -> Decimal:
    """CO2 of a kWh through the day: less by daylight."""
    hour = at_ms / MS_PER_HOUR % 24
    return Decimal(round(370 - 110 * math.exp(-(((hour - 12.5) / 3.6) ** 2))))
