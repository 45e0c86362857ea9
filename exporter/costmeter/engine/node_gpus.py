"""This machine's GPUs in `serve`: sampled, metered, attributed, booked, shown on its page."""

from __future__ import annotations

import os
from pathlib import Path

from costmeter.clock import Clock
from costmeter.config import Config
from costmeter.config.gpu import Gpu, tenants_of
from costmeter.gpu.costs import Costs, Energy
from costmeter.gpu.gaps import Gaps
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.owners.runner import claims_of, mode_of
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.gpu.sampler import Sampler
from costmeter.gpu.serving.reader import Serving, reading
from costmeter.ledger.writer import Writer
from costmeter.pricing.node_prices import NodePrices
from costmeter.segment import segment_usages

_SEGMENTS_AT_ONCE = 250


class NodeGpus:
    """`start` samples, `stop` ends what is open; what is closed then is still to be booked."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Raises PriceFileError."""
        gpu = config.gpu
        self._placement = self._configured = gpu.placement(os.environ)
        self.sampler = Sampler(clock, interval_seconds=gpu.sample_seconds)
        owners = owner_settings(gpu)
        self._claims = claims_of(owners, clock)
        self.meter = GpuMeter(
            clock,
            self._configured,
            claims=self._claims,
            costs=Costs(NodePrices.load(config.prices.files), energy_of(gpu)),
            gaps=Gaps(remembered(config.ledger.path)),
            segment_seconds=gpu.segment_seconds,
        )
        self.sampler.subscribe(self.meter.observe)
        self.serving: Serving | None = None
        asks_pods = gpu.kubernetes.serving and mode_of(owners) == "kubernetes"
        if gpu.serving or asks_pods:
            pods = self._claims.serving if asks_pods else None
            self.serving = reading(
                gpu.serving, pods, self.meter.figures, clock, gpu.serving_seconds,
                gpu.serving_window_seconds,
            )  # fmt: skip

    def start(self) -> None:
        self._claims.start()
        self.sampler.start()
        if self.serving is not None:
            self.serving.start()

    def stop(self) -> None:
        if self.serving is not None:
            self.serving.stop()
        self.sampler.stop()
        self._claims.stop()
        self.meter.close()

    def reload(self, config: Config) -> None:
        """Estimate by these prices from now on. Raises PriceFileError, changing nothing."""
        self.meter.price_by(NodePrices.load(config.prices.files), energy_of(config.gpu))

    def book(self, writer: Writer, timeout_seconds: float | None = None) -> str:
        """Book what is closed, as what the cluster says of this node."""
        facts = self._claims.node()
        if facts is not None:
            placement = facts.placement(self._configured)
            if placement != self._placement:
                self._placement = placement
                self.meter.move(placement)
        return book_gpu_time(writer, self.meter, timeout_seconds)


def owner_settings(gpu: Gpu) -> OwnerSettings:
    """What attribution is told of the section `gpu`."""
    kubernetes = gpu.kubernetes
    return OwnerSettings(
        mode=gpu.owners,
        default=gpu.placement(os.environ).owner,
        node_name=gpu.node(os.environ),
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


def remembered(ledger: Path) -> Path:
    """Where the meter remembers over a restart, beside the ledger."""
    return ledger.with_name(f"{ledger.name}.gpu.json")


def book_gpu_time(writer: Writer, meter: GpuMeter, timeout_seconds: float | None = None) -> str:
    """Book what is closed; all of a segment in one transaction."""
    while segments := meter.drain(_SEGMENTS_AT_ONCE):
        usages = [usage for segment in segments for usage in segment_usages(segment, "gpu")]
        writer.submit(usages).result(timeout_seconds)
        meter.confirm(len(segments))
    return ""
