"""Data points of the GenAI token metrics, from protobuf and from JSON, before they mean usage.

OTLP numbers: in ResourceMetrics and ScopeMetrics field 1 is what it is about and field 2 its
pieces; in Metric 1 is the name, 3 the unit, 5 a gauge, 7 a sum, 9 a histogram, 10 an
exponential histogram.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from costmeter.ingest.otlp import jsonbody
from costmeter.ingest.otlp.attributes import Attributes
from costmeter.ingest.otlp.span import (
    NOT_TYPED,
    KeyValue,
    int64,
    read_encoded,
    read_key_values,
)
from costmeter.ingest.otlp.wire import (
    MAX_PIECES,
    Broken,
    double,
    fields,
    parts,
    refuse,
    signed,
    unreadable,
    whole_body,
)
from costmeter.ingest.refusal import Refused, TooLarge

#: Each metric that counts tokens, and which count it is; "" where `gen_ai.token.type` says it.
METRICS: Mapping[str, str] = {
    "gen_ai.client.token.usage": "",
    "gen_ai.client.inference.usage.input_tokens": "input",
    "gen_ai.client.inference.usage.output_tokens": "output",
    "gen_ai.client.inference.usage.cache_read.input_tokens": "cache_read",
    "gen_ai.client.inference.usage.cache_write.input_tokens": "cache_write",
    "gen_ai.client.inference.usage.cache_creation.input_tokens": "cache_write",
    "gen_ai.client.inference.usage.reasoning.output_tokens": "reasoning",
}
DELTA, CUMULATIVE = 1, 2
_SUM, _HISTOGRAM, _EXPONENTIAL = 7, 9, 10
_KINDS = (5, _SUM, _HISTOGRAM, _EXPONENTIAL, 11)
#: Numbers of the fields time, start and sum by kind of point.
_HISTOGRAM_SUM, _NUMBER_DOUBLE, _NUMBER_INT = 5, 4, 6
_ATTRIBUTES: Mapping[int, int] = {_SUM: 7, _HISTOGRAM: 9, _EXPONENTIAL: 1}
_START, _TIME = 2, 3


class Metric(NamedTuple):
    """What all points of a metric share. `temporality` is 0 where it is not said."""

    name: str
    unit: str
    temporality: int


class Resource(NamedTuple):
    """What `attributes` reads of a resource, and a digest of all that it says."""

    said: dict[Any, Any] | Refused
    digest: bytes


class Point(NamedTuple):
    """`total` is the sum of a point, None where it is not said.

    `said` is what `attributes` reads of it; `digest` is one of all attributes but the type of
    the tokens, so that the points of one export that count the same calls have the same.
    """

    metric: Metric
    resource: Resource
    said: dict[Any, Any]
    digest: bytes
    start_ns: int
    time_ns: int
    total: int | float | None


#: A point, why it cannot be read, or None for a point of a metric that counts no tokens.
Found = Point | Refused | None


def protobuf_points(body: bytes, attributes: Attributes) -> Iterator[Found]:
    """Every data point in the order of the body. Raises Unreadable, TooLarge."""
    room = MAX_PIECES
    for outer in whole_body(body):
        try:
            about, groups = parts(body, outer.start, outer.stop)
            resource = _resource([body[one] for one in about], attributes)
            for group in groups:
                metrics = parts(body, group.start, group.stop).second
                room -= len(metrics) + 1
                if room < 0:
                    raise TooLarge("the body holds too many metrics; send smaller batches")
                for one in metrics:
                    for found in _metric(body[one], resource, attributes):
                        room -= 1
                        if room < 0:
                            raise TooLarge("the body holds too many points; send smaller batches")
                        yield found
        except Broken as broken:
            raise unreadable(broken) from None


def _resource(about: Sequence[bytes], attributes: Attributes) -> Resource:
    encoded = [one[piece] for one in about for piece in parts(one, 0, len(one)).first]
    try:
        return Resource(read_encoded(encoded, attributes), _digest(encoded))
    except Refused as refused:
        return Resource(refused, b"")


def _digest(encoded: Iterable[bytes]) -> bytes:
    """Of attributes in whatever order."""
    said = blake2b(digest_size=16)
    for one in sorted(encoded):
        said.update(len(one).to_bytes(8, "big") + one)
    return said.digest()


def _metric(raw: bytes, resource: Resource, attributes: Attributes) -> Iterator[Found]:
    try:
        members = fields(raw)
        said = dict(members)
        name = _text(said.get(1))
        for kind, data in members:
            if kind not in _KINDS or not isinstance(data, bytes):
                continue
            inner = fields(data)
            points = [value for number, value in inner if number == 1 and isinstance(value, bytes)]
            if name not in METRICS:
                yield from [None] * len(points)
                continue
            temporality = max((v for n, v in inner if n == 2 and isinstance(v, int)), default=0)
            metric = Metric(name, _text(said.get(3)), temporality)
            for one in points:
                yield _point(one, kind, metric, resource, attributes)
    except Broken as broken:
        yield refuse(broken)


def _point(
    raw: bytes,
    kind: int,
    metric: Metric,
    resource: Resource,
    attributes: Attributes,
) -> Found:
    if kind not in _ATTRIBUTES:
        return _no_counter(metric)
    try:
        members = fields(raw)
        encoded = [v for n, v in members if n == _ATTRIBUTES[kind] and isinstance(v, bytes)]
        numbers = {n: v for n, v in members if isinstance(v, int)}
        total: int | float | None = None
        if kind == _SUM:
            if _NUMBER_INT in numbers:
                total = signed(numbers[_NUMBER_INT])
            elif _NUMBER_DOUBLE in numbers:
                total = double(numbers[_NUMBER_DOUBLE])
        elif _HISTOGRAM_SUM in numbers:
            total = double(numbers[_HISTOGRAM_SUM])
        said = read_encoded(encoded, attributes)
        digest = _digest(one for one in encoded if attributes[one][0] != "token_type")
        start_ns, time_ns = numbers.get(_START, 0), numbers.get(_TIME, 0)
        return Point(metric, resource, said, digest, start_ns, time_ns, total)
    except Broken as broken:
        return refuse(broken)
    except Refused as refused:
        return refused


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _no_counter(metric: Metric) -> Refused:
    return Refused(metric.name, "expected a histogram or a sum; a gauge counts nothing")


class _PointJson(Struct, gc=False):
    attributes: list[KeyValue] | None = None
    startTimeUnixNano: int | str | None = None  # noqa: N815 - the names of OTLP
    timeUnixNano: int | str | None = None  # noqa: N815
    sum: float | str | None = None
    asInt: int | str | None = None  # noqa: N815
    asDouble: float | str | None = None  # noqa: N815


class _Data(Struct, gc=False):
    dataPoints: list[Raw] | None = None  # noqa: N815
    aggregationTemporality: int | str | None = None  # noqa: N815


class _Metric(Struct, gc=False):
    name: str | None = None
    unit: str | None = None
    sum: _Data | None = None
    histogram: _Data | None = None
    exponentialHistogram: _Data | None = None  # noqa: N815
    gauge: _Data | None = None
    summary: _Data | None = None


class _ScopeMetrics(Struct, gc=False):
    metrics: list[_Metric] | None = None


class _ResourceMetrics(Struct, gc=False):
    resource: jsonbody.Resource | None = None
    scopeMetrics: list[_ScopeMetrics] | None = None  # noqa: N815


class _Metrics(Struct, gc=False):
    resourceMetrics: list[_ResourceMetrics] | None = None  # noqa: N815


_METRICS = msgspec.json.Decoder(_Metrics)
_POINT = msgspec.json.Decoder(_PointJson)
_TEMPORALITIES: Mapping[object, int] = {
    1: DELTA,
    2: CUMULATIVE,
    "AGGREGATION_TEMPORALITY_DELTA": DELTA,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": CUMULATIVE,
}


def json_points(body: bytes, attributes: Attributes, max_events: int) -> Iterator[Found]:
    """Every data point in the order of the body. Raises Unreadable, TooLarge."""
    for resource_metrics in jsonbody.opened(body, _METRICS, max_events).resourceMetrics or ():
        about = resource_metrics.resource
        pairs = (about.attributes or ()) if about is not None else ()
        resource = Resource(jsonbody.owner(about, attributes), _json_digest(pairs))
        for scope_metrics in resource_metrics.scopeMetrics or ():
            for metric in scope_metrics.metrics or ():
                yield from _json_metric(metric, resource, attributes)


def _json_digest(pairs: Iterable[KeyValue]) -> bytes:
    return _digest(
        pair.key.encode("utf-8", "replace") + b"\0" + bytes(pair.value)
        for pair in pairs
        if pair.key != "gen_ai.token.type"
    )


def _json_metric(metric: _Metric, resource: Resource, attributes: Attributes) -> Iterator[Found]:
    counting = (metric.sum, metric.histogram, metric.exponentialHistogram)
    for data in (*counting, metric.gauge, metric.summary):
        if data is None:
            continue
        points = data.dataPoints or ()
        if metric.name not in METRICS:
            yield from [None] * len(points)
            continue
        shared = Metric(
            metric.name or "", metric.unit or "", _TEMPORALITIES.get(data.aggregationTemporality, 0)
        )
        for raw in points:
            if data not in counting:
                yield _no_counter(shared)
            else:
                yield _json_point(raw, shared, resource, attributes)


def _json_point(raw: Raw, metric: Metric, resource: Resource, attributes: Attributes) -> Found:
    try:
        point = _POINT.decode(raw)
        total: int | float | None = None
        if point.asInt is not None:
            total = int64("asInt", point.asInt)
        else:
            number = point.sum if point.sum is not None else point.asDouble
            total = None if number is None else float(number)
        pairs = point.attributes or ()
        return Point(
            metric,
            resource,
            read_key_values(pairs, attributes),
            _json_digest(pairs),
            int64("startTimeUnixNano", point.startTimeUnixNano),
            int64("timeUnixNano", point.timeUnixNano),
            total,
        )
    except (*NOT_TYPED, ValueError) as error:
        return refuse(error)
    except Refused as refused:
        return refused
