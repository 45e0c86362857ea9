"""The exporter's counts of its own doings; `metrics` turns them into families.

Rooms below `metrics` must not import prometheus_client, so they count here.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock


class Tally:
    """Thread-safe counters and gauges keyed by catalog name and label values.

    Label values stand in the order of the catalog's labels for that name.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: dict[str, dict[tuple[str, ...], float]] = {}

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        with self._lock:
            series = self._values.setdefault(name, {})
            series[labels] = series.get(labels, 0) + by

    def set(self, name: str, *labels: str, to: float) -> None:
        with self._lock:
            self._values.setdefault(name, {})[labels] = to

    def forget(self, name: str, *labels: str) -> None:
        """Make a value absent, because it is no longer known."""
        with self._lock:
            self._values.get(name, {}).pop(labels, None)

    def read(self) -> Mapping[str, Mapping[tuple[str, ...], float]]:
        """A copy of everything counted so far."""
        with self._lock:
            return {name: dict(series) for name, series in self._values.items()}
