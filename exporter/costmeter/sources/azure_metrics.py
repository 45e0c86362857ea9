"""Azure Monitor's metrics of one resource: hourly sums, split by dimensions.

Shape: `GET {resource}/providers/Microsoft.Insights/metrics`, version 2024-02-01. A point
without a total is missing, not 0; names of dimensions come back in lower case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from costmeter.model import MS_PER_HOUR
from costmeter.sources.azure_auth import Manager
from costmeter.sources.contract import Desk, SourceError
from costmeter.sources.reading import (
    Row,
    count,
    group,
    instant_ms,
    malformed,
    rfc3339,
    rows,
    text,
)

VERSION = "2024-02-01"
#: The service gives 10 series where nobody says how many.
MOST_SERIES = 5_000


class Sums(NamedTuple):
    """What is asked in one call: metrics of one namespace that have the same dimensions."""

    namespace: str
    metrics: Sequence[str]
    splits: Sequence[str]
    where: str = ""


class Point(NamedTuple):
    """The sum of a metric over the hour that begins at `at_ms`."""

    metric: str
    dimensions: Mapping[str, str]
    """Values by the name of the split, as it was asked for."""
    at_ms: int
    total: int


def hourly(
    manager: Manager, desk: Desk, resource: str, asked: Sums, since_ms: int, until_ms: int
) -> Iterator[Point]:
    """Every sum within [since, until), which both begin an hour; raises SourceError."""
    splits = [f"{name} eq '*'" for name in asked.splits]
    answer = manager.get(
        desk,
        f"{resource}/providers/Microsoft.Insights/metrics",
        [
            ("api-version", VERSION),
            ("metricnamespace", asked.namespace),
            ("metricnames", ",".join(asked.metrics)),
            ("timespan", f"{rfc3339(since_ms)}/{rfc3339(until_ms)}"),
            ("interval", "PT1H"),
            ("aggregation", "Total"),
            ("$filter", " and ".join(splits + ([asked.where] if asked.where else []))),
            ("top", str(MOST_SERIES)),
        ],
    )
    if text(answer, "interval") not in ("", "PT1H"):
        raise malformed("interval", "is not the hour that was asked for")
    seen: set[tuple[str, tuple[str, ...], int]] = set()
    found = {text(group(item, "name"), "value").lower(): item for item in rows(answer, "value")}
    for metric in asked.metrics:
        item = found.get(metric.lower())
        if item is None:
            raise malformed("value", f"has no metric {metric}")
        for point in _points(metric, item, asked.splits, since_ms, until_ms):
            mark = (metric, tuple(point.dimensions.values()), point.at_ms)
            if mark in seen:
                raise SourceError("repeated_page", f"an hour of {metric} came twice")
            seen.add(mark)
            yield point


def _points(
    metric: str, item: Row, splits: Sequence[str], since_ms: int, until_ms: int
) -> Iterator[Point]:
    code = text(item, "errorCode")
    if code not in ("", "Success"):
        raise SourceError("server", f"Azure Monitor could not sum up {metric}: {code}")
    series = rows(item, "timeseries")
    if len(series) >= MOST_SERIES:
        raise SourceError(
            "too_large", f"{metric} has {MOST_SERIES} series or more; some may be missing"
        )
    for one in series:
        said = {
            text(group(value, "name"), "value").lower(): text(value, "value")
            for value in rows({"metadatavalues": None, **one}, "metadatavalues")
        }
        dimensions = {name: said.get(name.lower(), "") for name in splits}
        for point in rows(one, "data"):
            if point.get("total") is None:
                continue
            at_ms = instant_ms(point, "timeStamp")
            if at_ms % MS_PER_HOUR or at_ms < since_ms:
                raise malformed("timeStamp", "is no hour that was asked for")
            # What has not ended yet was not asked for; it may be there all the same.
            if at_ms < until_ms:
                yield Point(metric, dimensions, at_ms, count(point, "total"))
