"""The GPUs of the node: sampled, metered, attributed and priced; put together from settings."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from costmeter.agent.page import Sample
from costmeter.clock import Clock
from costmeter.config.gpu import Gpu, tenants_of
from costmeter.gpu.costs import Costs, Energy
from costmeter.gpu.gaps import Gaps
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.nvml import Session, open_session
from costmeter.gpu.nvml_ask import Asker
from costmeter.gpu.owners.health import OwnersHealth
from costmeter.gpu.owners.runner import ClaimsRunner, claims_of, mode_of
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.gpu.sampler import Sampler
from costmeter.metrics.gpu_samples import samples
from costmeter.pricing.node_prices import NodePrices
from costmeter.segment import Placement

if TYPE_CHECKING:
    from costmeter.gpu.serving.reader import Serving

GAPS_FILE = "gpu-meter.json"


def owner_settings(gpu: Gpu, environ: Mapping[str, str]) -> OwnerSettings:
    """What attribution is told of the section `gpu`."""
    kubernetes = gpu.kubernetes
    return OwnerSettings(
        mode=gpu.owners,
        default=gpu.placement(environ).owner,
        node_name=gpu.node(environ),
        kubelet_socket=kubernetes.kubelet_socket,
        api_server=kubernetes.api_server,
        token_file=kubernetes.token_file,
        ca_file=kubernetes.ca_file,
        labels=kubernetes.labels.by_field(),
        namespaces=tenants_of(kubernetes.namespaces),
        namespace_is_tenant=kubernetes.namespace_is_tenant,
        workloads=tenants_of(gpu.workloads),
    )


def energy_of(gpu: Gpu) -> Energy:
    energy = gpu.energy
    return Energy(energy.usd_per_kwh, energy.pue, energy.grams_co2_per_kwh)


def serving_of(
    gpu: Gpu, owners: OwnerSettings, claims: ClaimsRunner, meter: GpuMeter, clock: Clock
) -> Serving | None:
    """Who reads the model servers of this node; None where there are none to read."""
    asks_pods = gpu.kubernetes.serving and mode_of(owners) == "kubernetes"
    if not gpu.serving and not asks_pods:
        return None
    # Late: only those who have model servers need its HTTP.
    from costmeter.gpu.serving.reader import reading

    pods = claims.serving if asks_pods else None
    return reading(
        gpu.serving, pods, meter.figures, clock, gpu.serving_seconds, gpu.serving_window_seconds
    )


class _Driver:
    """Opens NVML for the sampler, and adds up the time that was spent in its functions."""

    def __init__(self) -> None:
        self._ended = 0.0
        self._session: Session | None = None

    def open(self) -> Session:
        """Raises NvmlProblem."""
        # Some hundred calls a second are timed for less than a ten-thousandth of a core.
        Asker.timer = time.perf_counter
        session = open_session()
        if self._session is not None:
            self._ended += self._session.nvml_seconds
        self._session = session
        return session

    @property
    def seconds(self) -> float:
        session = self._session
        return self._ended + (session.nvml_seconds if session is not None else 0.0)


class NodeGpus:
    """`start` samples, `stop` ends what is open; `meter` then holds what is closed.

    `remember` is the folder in which the meter remembers over a restart, None to forget.
    Raises what the price files are wrong with.
    """

    def __init__(
        self, gpu: Gpu, price_files: Sequence[Path], clock: Clock, remember: Path | None
    ) -> None:
        self.node = gpu.node(os.environ)
        self._configured = self._placement = gpu.placement(os.environ)
        self._driver = _Driver()
        self.sampler = Sampler(clock, interval_seconds=gpu.sample_seconds, opener=self._driver.open)
        owners = owner_settings(gpu, os.environ)
        self.claims = claims_of(owners, clock)
        self.meter = GpuMeter(
            clock,
            self._configured,
            claims=self.claims,
            costs=Costs(NodePrices.load(price_files), energy_of(gpu)),
            gaps=Gaps(remember / GAPS_FILE) if remember is not None else None,
            segment_seconds=gpu.segment_seconds,
        )
        self.sampler.subscribe(self.meter.observe)
        self._serving = serving_of(gpu, owners, self.claims, self.meter, clock)

    def start(self) -> None:
        self.claims.start()
        self.sampler.start()
        if self._serving is not None:
            self._serving.start()

    def stop(self) -> None:
        if self._serving is not None:
            self._serving.stop()
        self.sampler.stop()
        self.claims.stop()
        self.meter.close()

    def follow(self, configured: Placement | None = None) -> None:
        """Take over what the cluster says of this node, or what a reload configures."""
        if configured is not None:
            self._configured = configured
        facts = self.claims.node()
        placement = self._configured if facts is None else facts.placement(self._configured)
        if placement != self._placement:
            self._placement = placement
            self.meter.move(placement)

    def samples(self) -> Iterator[Sample]:
        """From memory: the driver, the kubelet and the disk are not waited for."""
        yield from _of_owners(self.claims.health())
        state = self.sampler.state()
        if state is None:
            return
        yield "costmeter_agent_gpus", (), len(state.readings)
        yield "costmeter_agent_nvml_seconds_total", (), self._driver.seconds
        yield from samples(state, self.meter.figures(), self.node)
        if self._serving is not None:
            yield from self._serving.samples(self.node)

    def facts(self) -> Iterator[str]:
        """What is known of the GPUs, in sentences."""
        state = self.sampler.state()
        if state is None:
            yield "The first sample is being taken."
            return
        if state.problem is not None:
            yield f"No GPU figures: {state.problem}. It is tried again."
        for reading in state.readings:
            yield f"GPU {reading.index}: {reading.model} ({reading.uuid})."
        if self._serving is not None:
            yield from self._serving.facts()
        if state.age_seconds is not None and state.age_seconds > 5:
            yield f"The last complete sample is {state.age_seconds:.0f} seconds old."
        health = self.claims.health()
        yield f"Owners are found by: {health.mode}."
        if health.problem:
            yield f"Owners: {health.problem}."


def _of_owners(health: OwnersHealth) -> Iterator[Sample]:
    """How attribution fares."""
    start = "costmeter_agent_owners_"
    yield f"{start}info", (health.mode,), 1
    yield f"{start}up", (), int(not health.problem)
    for subject, count in health.requests.items():
        yield f"{start}requests_total", (subject,), count
    for labels, count in health.errors.items():
        yield f"{start}errors_total", labels, count
    for subject, at_ms in (
        ("kubelet", health.kubelet_success_ms),
        ("pods", health.pods_success_ms),
    ):
        if at_ms is not None:
            yield f"{start}last_success_timestamp_seconds", (subject,), at_ms / 1000
    yield f"{start}holders", (), health.holders
    if health.mode == "kubernetes":
        yield f"{start}watch_restarts_total", (), health.watch_restarts
        yield f"{start}unresolved_devices", (), health.unresolved_devices
        yield f"{start}unknown_pods", (), health.unknown_pods
