"""`POST /v1/metrics` without its HTTP: token counts of an interval in, usage to book out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from costmeter.attribution import ANY_FEED, scope_of
from costmeter.ingest.event import MAX_EVENTS, MAX_QUANTITY
from costmeter.ingest.events import Batch
from costmeter.ingest.otlp.attributes import Attributes
from costmeter.ingest.otlp.calls import AGENT, AROUND, NO_USAGE, OPERATIONS, OTHER_OPERATION
from costmeter.ingest.otlp.charges import Charges
from costmeter.ingest.otlp.points import (
    CUMULATIVE,
    DELTA,
    METRICS,
    Point,
    json_points,
    protobuf_points,
)
from costmeter.ingest.otlp.reading import NS_PER_MS, Read, Rules, outside
from costmeter.ingest.otlp.tokens import classes
from costmeter.ingest.owner import Caller
from costmeter.ingest.refusal import Refused, Rejection, TooLarge
from costmeter.ingest.window import Bounds, Window, bounds
from costmeter.model import Usage

#: Why a data point is not booked, beside those of spans, as the metrics count it.
OTHER_METRIC, OLDER_METRIC = "not_genai", "older_metric"

_UNITS = frozenset({"{token}", "{tokens}", "token", "tokens", "1", ""})
_TYPES: Mapping[str, str] = {
    "input": "input",
    "prompt": "input",
    "output": "output",
    "completion": "output",
}
_CUMULATIVE = (
    "cumulative sums are not taken; set "
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta where the metrics are made"
)


@dataclass(slots=True)
class _Interval:
    """Points that count the same calls over the same interval."""

    point: Point
    counts: dict[str, int] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)


class MetricReader:
    """Turns bodies into usage. Safe to call from several threads."""

    def __init__(
        self, window: Window, max_events: int = MAX_EVENTS, rules: Rules | None = None
    ) -> None:
        self._window = window
        self._max_events = max_events
        self._rules = rules or Rules()
        self._attributes = Attributes(self._rules.owners)
        self._charges = Charges(self._rules.owners)

    def read(self, body: bytes, caller: Caller, now_ms: int, *, as_json: bool) -> Read:
        """Usage of a body's points. Raises Unreadable or TooLarge for all of it.

        A scope that every feed may book takes no sums of metrics: the calls that they sum up
        would be there twice. They are counted as observed.
        """
        limits = bounds(self._window, now_ms)
        found = (
            json_points(body, self._attributes, self._max_events)
            if as_json
            else protobuf_points(body, self._attributes)
        )
        rejections: list[Rejection] = []
        ignored: Counter[str] = Counter()
        observed: Counter[str] = Counter()
        intervals: dict[tuple[bytes, bool], _Interval] = {}
        for place, point in enumerate(found):
            if point is None:
                ignored[OTHER_METRIC] += 1
                continue
            try:
                if isinstance(point, Refused):
                    raise point
                operation = point.said.get("operation")
                if operation is not None and operation not in OPERATIONS:
                    ignored[AGENT if operation in AROUND else OTHER_OPERATION] += 1
                    continue
                name, amount = _amount(point)
            except Refused as refused:
                rejections.append(refused.at(place))
                continue
            key = (_identity(point), METRICS[point.metric.name] == "")
            interval = intervals.setdefault(key, _Interval(point))
            interval.counts[name] = interval.counts.get(name, 0) + amount
            interval.places.append(place)
        if len(intervals) > self._max_events:
            raise TooLarge(f"a body holds at most {self._max_events} sums; send smaller batches")
        usages: list[Usage] = []
        places: list[int] = []
        for (identity, is_older), interval in intervals.items():
            if is_older and (identity, False) in intervals:
                ignored[OLDER_METRIC] += len(interval.places)
                continue
            if not any(interval.counts.values()):
                ignored[NO_USAGE] += len(interval.places)
                continue
            try:
                usage = self._usage(identity, interval, caller, limits)
            except Refused as refused:
                rejections.extend(refused.at(place) for place in interval.places)
                continue
            scope = scope_of(self._rules.scopes, usage.labels)
            if scope.detail_from == ANY_FEED:
                observed[scope.name] += 1
            else:
                usages.append(usage)
                places.append(interval.places[0])
        return Read(Batch(usages, places, rejections), ignored, observed)

    def _usage(self, identity: bytes, interval: _Interval, caller: Caller, limits: Bounds) -> Usage:
        point = interval.point
        at_ms = point.time_ns // NS_PER_MS
        if not limits.oldest_ms <= at_ms <= limits.newest_ms:
            raise outside("time_unix_nano", point.time_ns, limits)
        resource = point.resource.said
        charge = self._charges.group(caller, resource).charge(point.said)
        whole = point.said if isinstance(resource, Refused) else {**resource, **point.said}
        return Usage(
            event_id=f"f:{caller.feed}:{identity.hex()}",
            at_ms=at_ms,
            feed=caller.feed,
            labels=charge.labels,
            quantities=classes(interval.counts),
            status="error" if "error" in point.said else "ok",
            processing=charge.processing,
            user_id=whole.get("user_id", ""),
            session_id=whole.get("session_id", ""),
        )


def _amount(point: Point) -> tuple[str, int]:
    """Which count of `tokens.classes` a point adds to, and by how much; raises Refused."""
    metric, total = point.metric, point.total
    if metric.unit not in _UNITS:
        raise Refused(metric.name, f"unknown unit {metric.unit[:20]!r}; expected {{token}}")
    if metric.temporality != DELTA:
        said = _CUMULATIVE if metric.temporality == CUMULATIVE else "no temporality is said"
        raise Refused(metric.name, said, code="cumulative")
    name = METRICS[metric.name]
    if not name:
        token_type = point.said.get("token_type")
        if token_type is None:
            raise Refused("gen_ai.token.type", "missing", code="missing")
        name = _TYPES.get(token_type, "")
        if not name:
            raise Refused("gen_ai.token.type", "expected input or output")
    if total is None:
        raise Refused(metric.name, "the point has no sum", code="missing")
    if not 0 <= total <= MAX_QUANTITY or total != int(total):
        raise Refused(metric.name, f"expected a whole number from 0 to {MAX_QUANTITY}")
    return name, int(total)


def _identity(point: Point) -> bytes:
    """The same for the points of one interval, and for the same points sent again."""
    said = blake2b(point.resource.digest + point.digest, digest_size=16)
    said.update(f"{point.start_ns} {point.time_ns}".encode())
    return said.digest()
