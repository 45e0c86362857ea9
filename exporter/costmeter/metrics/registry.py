"""A prometheus_client registry in which one failing collector takes only itself down."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector

from costmeter.metrics.faults import Faults

EOF = b"# EOF\n"

_text_page: Callable[[CollectorRegistry], bytes] = generate_latest
_openmetrics_page: Callable[[CollectorRegistry], bytes] = openmetrics_exposition.generate_latest


class GuardedRegistry(CollectorRegistry):
    """Knows its collectors one by one, where the plain registry chains them into one stream."""

    def __init__(self) -> None:
        super().__init__()
        self._guarded: list[Collector] = []

    def register(self, collector: Collector) -> None:
        super().register(collector)
        self._guarded.append(collector)

    def unregister(self, collector: Collector) -> None:
        super().unregister(collector)
        self._guarded.remove(collector)

    def page(self, names: frozenset[str] | None, openmetrics: bool, faults: Faults) -> bytes:
        """Every collector's families with samples, without the `# EOF` of OpenMetrics.

        `names`, unless None, are the samples or families to show. A collector that raises,
        or whose families cannot be written, is left out and noted.
        """
        texts: list[bytes] = []
        for collector in tuple(self._guarded):
            try:
                texts.append(_text(list(collector.collect()), names, openmetrics))
            except Exception as error:  # noqa: BLE001  # third parties raise what they like
                faults.note(type(collector).__name__, error)
        return b"".join(texts)


class _Collected:
    """Families that were collected before, as a collector."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _text(families: list[Metric], names: frozenset[str] | None, openmetrics: bool) -> bytes:
    shown = families if names is None else [_only(family, names) for family in families]
    registry = CollectorRegistry()
    registry.register(_Collected([family for family in shown if family.samples]))
    if openmetrics:
        return _openmetrics_page(registry).removesuffix(EOF)
    return _text_page(registry)


def _only(family: Metric, names: frozenset[str]) -> Metric:
    """The family with the samples that are asked for, by their name or by the family's."""
    if family.name in names:
        return family
    part = Metric(family.name, family.documentation, family.type, family.unit)
    part.samples = [sample for sample in family.samples if sample.name in names]
    return part
