"""The families of the GPUs of this machine, for prometheus_client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from costmeter.metrics.catalog import CATALOG, FAMILIES
from costmeter.metrics.gpu_samples import Figures, Sample, State, samples

_Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
_BUILD: Mapping[str, type[_Family]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class GpuCollector(Collector):
    """Exports what `state` and `figures` know now. A family without a sample is left out whole.

    A GPU that does not answer has no samples, its counters included: a flat counter
    would read as an idle GPU that draws no power. They go on from where they stood when
    it answers again. What its owners had of it stays as long as they do. `node` is the value
    of the label of that name.
    """

    def __init__(
        self,
        state: Callable[[], State | None],
        node: str,
        figures: Callable[[], Figures] | None = None,
        serving: Callable[[str], Iterable[Sample]] | None = None,
    ) -> None:
        self._state = state
        self._node = node
        self._figures = figures
        self._serving = serving

    def describe(self) -> Iterable[Metric]:
        """Every family without samples: registering asks no GPU."""
        return list(_empty().values())

    def collect(self) -> Iterable[Metric]:
        state = self._state()
        if state is None:
            return []
        families = _empty()
        figures = self._figures() if self._figures is not None else None
        serving = self._serving(self._node) if self._serving is not None else ()
        for name, labels, value in chain(samples(state, figures, self._node), serving):
            family = families.get(name) or families[name.rpartition("_")[0]]
            if isinstance(family, HistogramMetricFamily):
                _add_of_histogram(family, name, labels, value)
            else:
                family.add_metric(labels, value)
        return [family for family in families.values() if family.samples]


def _add_of_histogram(
    family: HistogramMetricFamily, name: str, labels: tuple[str, ...], value: float
) -> None:
    names = (*CATALOG[family.name].labels, *(("le",) if name.endswith("_bucket") else ()))
    family.add_sample(name, dict(zip(names, labels, strict=True)), value)


def _empty() -> dict[str, _Family]:
    return {
        # A counter's name loses its _total here and gets it back in every format.
        family.name: _BUILD[family.kind](family.name, family.help, labels=family.labels)
        for family in FAMILIES
        if family.source == "gpu"
    }
