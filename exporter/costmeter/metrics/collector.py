"""The exporter's own families, from the tally and from gauges that are read at the scrape."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from costmeter import __version__
from costmeter.metrics.catalog import CATALOG, FAMILIES, Family
from costmeter.metrics.faults import Faults
from costmeter.metrics.registry import GuardedRegistry
from costmeter.model import Snapshot
from costmeter.tally import Tally

#: Values by catalog name and label values in the catalog's order, as `Tally.read` gives them.
Figures = Mapping[str, Mapping[tuple[str, ...], float]]

BUILD_INFO = "costmeter_build_info"


class ContractError(ValueError):
    """A sample that the metric catalog does not allow."""


class Samples:
    """The one writer of a family's samples: every label by name, each exactly once."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._written: dict[tuple[str, ...], float] = {}

    def add(self, value: float, /, **labels: str) -> None:
        """Write one sample; ContractError on a missing, unknown or repeated set of labels."""
        name, wanted = self._family.name, self._family.labels
        if labels.keys() != set(wanted):
            raise ContractError(
                f"{name} takes the labels {_listed(wanted)} and was given {_listed(labels)}"
            )
        key = tuple(labels[label] for label in wanted)
        if key in self._written:
            raise ContractError(f"{name} was given two values for {labels}; write each set once")
        self._written[key] = value

    def metric(self) -> Metric:
        """The family in prometheus_client's form."""
        family = self._family
        kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        metric: Metric = kind(family.name, family.help, labels=family.labels)
        for key, value in self._written.items():
            metric.add_sample(family.name, dict(zip(family.labels, key, strict=True)), value)
        return metric


class OwnCollector:
    """Collects the catalog's families of source "self".

    `gauges` is called at every scrape and must answer from memory. What the catalog does not
    know is left out and noted; with `strict`, as in tests, it raises ContractError.
    """

    def __init__(
        self, tally: Tally, gauges: Callable[[], Figures] = dict, *, strict: bool = False
    ) -> None:
        self._tally = tally
        self._gauges = gauges
        self._strict = strict
        self._faults = Faults(tally)

    def describe(self) -> Iterable[Metric]:
        """Every family without samples, so that a registry refuses a second of that name."""
        return [Samples(family).metric() for family in FAMILIES if family.source == "self"]

    def collect(self) -> Iterable[Metric]:
        families = {f.name: Samples(f) for f in FAMILIES if f.source == "self"}
        for figures in (self._build_info, self._gauges, self._tally.read):
            try:
                read = figures()
            except Exception as error:  # noqa: BLE001  # the rest is still worth seeing
                self._fail("gauges", error)
                continue
            for name, series in read.items():
                for values, value in series.items():
                    try:
                        _write(families, name, values, value)
                    except ContractError as error:
                        self._fail(name, error)
        return [samples.metric() for samples in families.values()]

    def _fail(self, part: str, error: Exception) -> None:
        if self._strict:
            raise error
        self._faults.note(part, error)

    @staticmethod
    def _build_info() -> Figures:
        return {BUILD_INFO: {(__version__, platform.python_version()): 1}}


def own_registry(tally: Tally, gauges: Callable[[], Figures] = dict) -> GuardedRegistry:
    """A registry with the exporter's own families and those of its process (`process_*`)."""
    registry = GuardedRegistry()
    registry.register(OwnCollector(tally, gauges))
    ProcessCollector(registry=registry)
    return registry


def snapshot_figures(snapshot: Snapshot | None, now_ms: int) -> Figures:
    """What a snapshot says of itself: its age, its epoch and its series by family."""
    if snapshot is None:
        return {}
    series: dict[tuple[str, ...], float] = {
        (name,): float(sum(len(chunk.labels) for chunk in chunks))
        for name, chunks in snapshot.families.items()
    }
    return {
        "costmeter_snapshot_age_seconds": {(): max(0, now_ms - snapshot.heartbeat_ms) / 1000},
        "costmeter_ledger_epoch": {(): float(snapshot.epoch)},
        "costmeter_series": series,
    }


def _write(
    families: Mapping[str, Samples], name: str, values: tuple[str, ...], value: float
) -> None:
    if name not in families:
        raise ContractError(f"{name} is not one of the exporter's own families in the catalog")
    labels = CATALOG[name].labels
    if len(labels) != len(values):
        raise ContractError(f"{name} takes the labels {_listed(labels)} and was given {values}")
    families[name].add(value, **dict(zip(labels, values, strict=True)))


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(labels) or "none"
