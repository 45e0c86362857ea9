"""`POST /v1/traces` without its HTTP: spans of calls to models in, usage to book out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from msgspec import Raw

from costmeter.ingest.event import MAX_EVENTS, MAX_LATENCY_MS
from costmeter.ingest.events import Batch
from costmeter.ingest.otlp import jsonbody
from costmeter.ingest.otlp.attributes import Attributes
from costmeter.ingest.otlp.calls import NESTED, NO_USAGE, OPERATIONS, why_not
from costmeter.ingest.otlp.charges import Charges, Group
from costmeter.ingest.otlp.quick import quick
from costmeter.ingest.otlp.reading import NS_PER_MS, Read, Rules, outside
from costmeter.ingest.otlp.recent import Recent
from costmeter.ingest.otlp.span import (
    Span,
    SpanParts,
    read_encoded,
    read_json_span,
    span_reader,
    take_apart_here,
)
from costmeter.ingest.otlp.tokens import classes
from costmeter.ingest.otlp.wire import MAX_PIECES, Broken, parts, unreadable, varint, whole_body
from costmeter.ingest.owner import Caller
from costmeter.ingest.refusal import Refused, Rejection, TooLarge
from costmeter.ingest.window import Bounds, Window, bounds
from costmeter.model import Usage

_NEW = tuple.__new__
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)


#: Spans under the same resource and scope: the resource's fields, whether their counts leave
#: out caches, and the encoded spans.
Spans = tuple[dict[Any, Any] | Refused, bool, Iterable[SpanParts | Refused | Raw]]


class TraceReader:
    """Turns bodies into usage. Safe to call from several threads."""

    def __init__(
        self, window: Window, max_events: int = MAX_EVENTS, rules: Rules | None = None
    ) -> None:
        self._window = window
        self._max_events = max_events
        self._rules = rules or Rules()
        self._attributes = Attributes(self._rules.owners)
        self._read_span = span_reader(self._attributes)
        self._quick = quick()
        self._read_json = partial(read_json_span, attributes=self._attributes)
        self._charges = Charges(self._rules.owners)
        self._parents = Recent()

    def read(self, body: bytes, caller: Caller, now_ms: int, *, as_json: bool) -> Read:
        """Usage of a body's calls. Raises Unreadable or TooLarge for all of it."""
        limits = bounds(self._window, now_ms)
        one: Callable[[Any], Span] = self._read_json if as_json else self._read_span
        usages: list[Usage] = []
        places: list[int] = []
        spans: list[bytes] = []
        parents: list[bytes] = []
        rejections: list[Rejection] = []
        ignored: Counter[str] = Counter()
        place = -1
        for resource, excludes_caches, encoded in (
            self._json(body) if as_json else self._protobuf(body)
        ):
            group = self._charges.group(caller, resource)
            for raw in encoded:
                place += 1
                try:
                    span = one(raw)
                    said = span[-1]
                    if said.get("operation") not in OPERATIONS:
                        reason = why_not(said)
                        if reason:
                            ignored[reason] += 1
                            continue
                    usage = _usage(span, group, limits, excludes_caches)
                except Refused as refused:
                    rejections.append(refused.at(place))
                    continue
                if usage is None:
                    ignored[NO_USAGE] += 1
                    continue
                usages.append(usage)
                places.append(place)
                spans.append(span[1])
                parents.append(span[2])
            if len(usages) > self._max_events:
                raise TooLarge(
                    f"a body holds at most {self._max_events} calls to models; send smaller batches"
                )
        around = self._parents.around(caller, spans, parents)
        if around:
            kept = [i for i, span_id in enumerate(spans) if span_id not in around]
            ignored[NESTED] += len(spans) - len(kept)
            usages, places = [usages[i] for i in kept], [places[i] for i in kept]
        return Read(Batch(usages, places, rejections), ignored)

    def _protobuf(self, body: bytes) -> Iterator[Spans]:
        room = MAX_PIECES
        for outer in whole_body(body):
            try:
                about, groups = parts(body, outer.start, outer.stop)
                resource = resource_of(body, about, self._attributes)
                for group in groups:
                    encoded = body[group]
                    count, spans = self._spans(encoded, room)
                    room -= count + 1
                    if room < 0:
                        raise TooLarge("the body holds too many spans; send smaller batches")
                    yield resource, scope_name(encoded) in self._rules.excludes_caches, spans
            except Broken as broken:
                raise unreadable(broken) from None

    def _spans(self, group: bytes, room: int) -> tuple[int, Iterable[SpanParts | Refused]]:
        """The spans of an encoded ScopeSpans and their number, counted before they cost memory.

        Raises Broken.
        """
        if self._quick is not None:
            count = self._quick.count(group)
            if count is not None and count <= room:
                spans = self._quick.spans(group)
                if spans is not None:
                    return count, spans
        found = parts(group, 0, len(group)).second
        return len(found), take_apart_here([group[one] for one in found])

    def _json(self, body: bytes) -> Iterator[Spans]:
        for resource, scope, spans in jsonbody.spans(body, self._attributes, self._max_events):
            yield resource, scope in self._rules.excludes_caches, spans


def _usage(span: Span, group: Group, limits: Bounds, excludes_caches: bool) -> Usage | None:
    """The hot path. None for a call that says no usage and did not fail."""
    trace_id, span_id, _, start_ns, end_ns, failed, said = span
    if len(trace_id) != 16 or trace_id == _NO_TRACE:
        raise Refused("trace_id", "expected 16 bytes, not all zero")
    if len(span_id) != 8 or span_id == _NO_SPAN:
        raise Refused("span_id", "expected 8 bytes, not all zero")
    at_ms = end_ns // NS_PER_MS
    if not limits.oldest_ms <= at_ms <= limits.newest_ms:
        raise outside("end_time_unix_nano", end_ns, limits)
    failed = failed or "error" in said
    if not failed and "input" not in said and "output" not in said and "total" not in said:
        return None
    charge = group.charge(said)
    get = said.get
    response_id = get("response_id", "")
    if response_id and not response_id.isspace():
        own_id = f"p:{charge.labels.provider}:{response_id}"
        detail = f'{{"trace_id":"{trace_id.hex()}","span_id":"{span_id.hex()}"}}'
    else:
        own_id = f"f:{group.caller.feed}:{trace_id.hex()}-{span_id.hex()}"
        detail = ""
    latency_ms = (end_ns - start_ns) // NS_PER_MS
    return _NEW(
        Usage,
        (
            own_id,
            at_ms,
            group.caller.feed,
            charge.labels,
            classes(said, excludes_caches=excludes_caches),
            "error" if failed else "ok",
            latency_ms if start_ns and 0 <= latency_ms <= MAX_LATENCY_MS else 0,
            charge.processing,
            get("user_id", group.user_id),
            get("session_id", group.session_id),
            "",
            detail,
        ),
    )


def resource_of(
    body: bytes, about: Sequence[slice], attributes: Attributes
) -> dict[Any, Any] | Refused:
    """A resource's fields, or why they cannot be read. Raises Broken."""
    encoded = [body[one] for part in about for one in parts(body, part.start, part.stop).first]
    try:
        return read_encoded(encoded, attributes)
    except Refused as refused:
        return refused


def scope_name(group: bytes) -> str:
    """The instrumentation scope's name in an encoded ScopeSpans; "" where it is not said.

    Every encoder writes the scope first; one that does not has no name. Raises Broken.
    """
    if group[:1] != b"\x0a":
        return ""
    size, at = varint(group, 1)
    for name in parts(group, at, at + size).first:
        return group[name].decode("utf-8", "replace")
    return ""
