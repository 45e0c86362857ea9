"""Sums of CloudWatch by hour: which series there are, and their whole numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from costmeter.model import MS_PER_HOUR
from costmeter.sources.aws_client import Aws, Call
from costmeter.sources.contract import Desk, SourceError
from costmeter.sources.pages import MOST_PAGES
from costmeter.sources.reading import Row, malformed, rows, text

#: 0.01 USD for 1,000 metrics that GetMetricData is asked for, and for 1,000 lists.
NANO_PER_METRIC = 10_000
_MOST_QUERIES, _MOST_POINTS = 500, 100_800
_LIST, _GET = ("list_metrics", "Metrics"), ("get_metric_data", "MetricDataResults")
#: Above this a float does not hold every whole number.
_MOST_EXACT = 2**53


class Family(NamedTuple):
    """Series of one namespace that have just these dimensions, and the metrics to read."""

    namespace: str
    dimensions: tuple[str, ...]
    metrics: frozenset[str]


#: The values of a family's dimensions, in its order.
Key = tuple[str, ...]
#: The metrics that each key has.
Meters = Mapping[Key, frozenset[str]]
#: By key and metric: the sum of each hour, by when it begins in ms.
Hours = Mapping[tuple[Key, str], Mapping[int, int]]


def listed(aws: Aws, desk: Desk, region: str, family: Family) -> Meters:
    """What has data at all.

    A series with further dimensions, or fewer, counts the same calls once more.
    """
    found: dict[Key, set[str]] = {}
    asked = {"Namespace": family.namespace}
    for answer in _pages(aws, desk, region, _LIST, asked, NANO_PER_METRIC):
        for row in rows(answer, "Metrics"):
            dimensions = rows(row, "Dimensions") if row.get("Dimensions") else ()
            name = text(row, "MetricName")
            said = {str(one.get("Name")): str(one.get("Value")) for one in dimensions}
            if name in family.metrics and said.keys() == set(family.dimensions):
                key = tuple(said[one] for one in family.dimensions)
                found.setdefault(key, set()).add(name)
    return {key: frozenset(names) for key, names in found.items()}


def hours_of(
    aws: Aws, desk: Desk, region: str, family: Family, meters: Meters, since_ms: int, until_ms: int
) -> Hours:
    """The sums of all hours within [since, until)."""
    series = [(key, name) for key in sorted(meters) for name in sorted(meters[key])]
    points = (until_ms - since_ms) // MS_PER_HOUR
    found: dict[tuple[Key, str], dict[int, int]] = {}
    for some in _batches(series, min(_MOST_QUERIES, max(1, _MOST_POINTS // points))):
        asked = {
            "MetricDataQueries": [
                _query(f"m{number}", family, *one) for number, one in enumerate(some)
            ],
            "StartTime": datetime.fromtimestamp(since_ms / 1000, UTC),
            "EndTime": datetime.fromtimestamp(until_ms / 1000, UTC),
            "ScanBy": "TimestampAscending",
        }
        whole = dict.fromkeys(range(len(some)), False)
        cost = NANO_PER_METRIC * len(some)
        for answer in _pages(aws, desk, region, _GET, asked, cost):
            for row in rows(answer, "MetricDataResults"):
                number = _number(row, len(some))
                whole[number] = _complete(row)
                into = found.setdefault(some[number], {})
                _take(row, into, since_ms, until_ms)
        if not all(whole.values()):
            raise SourceError("server", "CloudWatch answered with a part of the data")
    return found


def _query(name: str, family: Family, key: Key, metric: str) -> Row:
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": family.namespace,
                "MetricName": metric,
                "Dimensions": [
                    {"Name": one, "Value": value}
                    for one, value in zip(family.dimensions, key, strict=True)
                ],
            },
            "Period": MS_PER_HOUR // 1000,
            "Stat": "Sum",
        },
        "ReturnData": True,
    }


def _number(row: Row, count: int) -> int:
    said = text(row, "Id")
    if not (said[:1] == "m" and said[1:].isdecimal() and int(said[1:]) < count):
        raise malformed("Id", "is none that was asked for")
    return int(said[1:])


def _complete(row: Row) -> bool:
    status = text(row, "StatusCode")
    if status == "Forbidden":
        raise SourceError("credentials", "CloudWatch forbids cloudwatch:GetMetricData")
    if status == "InternalError":
        raise SourceError("server", "CloudWatch answered with an internal error")
    return status in ("Complete", "")


def _take(row: Row, into: dict[int, int], since_ms: int, until_ms: int) -> None:
    instants, values = row.get("Timestamps") or [], row.get("Values") or []
    if len(instants) != len(values):
        raise malformed("Values", "are not as many as Timestamps")
    for instant, value in zip(instants, values, strict=True):
        if not isinstance(instant, datetime):
            raise malformed("Timestamps", "expected an instant")
        at_ms = int(instant.timestamp()) * 1000
        if at_ms % MS_PER_HOUR or not since_ms <= at_ms < until_ms:
            raise malformed("Timestamps", "is no hour that was asked for")
        if at_ms in into:
            raise SourceError("repeated_page", "an hour came twice")
        into[at_ms] = whole_number(value)


def whole_number(value: object) -> int:
    """A sum of whole numbers, which CloudWatch writes as a float; raises SourceError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise malformed("Values", "expected a number")
    if not 0 <= value <= _MOST_EXACT or value != int(value):
        raise malformed("Values", "expected a whole number, 0 or more")
    return int(value)


def _pages(
    aws: Aws, desk: Desk, region: str, operation: tuple[str, str], asked: Row, nano: int
) -> Iterator[Row]:
    what = Call("cloudwatch", region, *operation, nano)
    tokens: set[str] = set()
    more: Row = asked
    for _ in range(MOST_PAGES):
        answer = aws.call(desk, what, more)
        yield answer
        token = answer.get("NextToken")
        if not token:
            return
        if token in tokens:
            raise SourceError("repeated_page", "a page names one as the next that was read")
        tokens.add(token)
        more = {**asked, "NextToken": token}
    raise SourceError("repeated_page", f"no end after {MOST_PAGES} pages")


def _batches(series: Sequence[tuple[Key, str]], size: int) -> Iterator[tuple[tuple[Key, str], ...]]:
    left = iter(series)
    while some := tuple(islice(left, size)):
        yield some
