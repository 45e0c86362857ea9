"""OTLP bodies for tests: built with the official messages, and turned into JSON by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from costmeter.ingest.otlp.metrics import MetricReader
from costmeter.ingest.otlp.reading import Read, Rules
from costmeter.ingest.otlp.traces import TraceReader
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from fakes.calls import NOW_MS

NOW_NS = NOW_MS * 1_000_000
CALLER = Caller("otlp")
#: A call as the newest conventions describe it.
CHAT: Mapping[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 150,
}


def any_value(value: Any) -> AnyValue:
    if isinstance(value, AnyValue):
        return value
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, Mapping):
        found = AnyValue()
        found.kvlist_value.values.extend(pairs(value))
        return found
    found = AnyValue()
    found.array_value.values.extend(any_value(one) for one in value)
    return found


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def span(number: int = 1, attributes: Mapping[str, Any] = CHAT, **changes: Any) -> Span:
    """A span that ended a second ago and took 812 ms."""
    made = Span(
        trace_id=(7_000 + number).to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        name="chat",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=NOW_NS - 1_812_000_000,
        end_time_unix_nano=NOW_NS - 1_000_000_000,
        attributes=pairs(attributes),
    )
    made.MergeFrom(Span(**changes))
    return made


def request(
    spans: Sequence[Span], resource: Mapping[str, Any] | None = None, scope: str = "library"
) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    outer = made.resource_spans.add()
    outer.resource.attributes.extend(pairs(resource or {}))
    inner = outer.scope_spans.add()
    inner.scope.name = scope
    inner.spans.extend(spans)
    return made


def as_json(message: Message) -> bytes:
    """OTLP's JSON: protobuf's, with ids in hexadecimal digits and enums as numbers."""
    value = json_format.MessageToDict(message, use_integers_for_enums=True)

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for key in ("traceId", "spanId", "parentSpanId"):
                if key in node:
                    node[key] = base64.b64decode(node[key]).hex()
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(value)
    return json.dumps(value).encode()


def read(
    body: ExportTraceServiceRequest | bytes,
    *,
    caller: Caller = CALLER,
    rules: Rules | None = None,
    json_too: bool = True,
) -> Read:
    """What becomes of a body; the same from protobuf, with and without its library, and JSON."""
    return _everyway(body, lambda: TraceReader(Window(), 10_000, rules), caller, json_too)


def read_metrics(
    body: ExportMetricsServiceRequest | bytes,
    *,
    caller: Caller = CALLER,
    rules: Rules | None = None,
) -> Read:
    return _everyway(body, lambda: MetricReader(Window(), 10_000, rules), caller, json_too=False)


def _everyway(body: Any, reader: Callable[[], Any], caller: Caller, json_too: bool) -> Read:
    raw = body if isinstance(body, bytes) else body.SerializeToString()
    found: Read = reader().read(raw, caller, NOW_MS, as_json=False)
    plain = reader()
    plain._quick = None
    assert plain.read(raw, caller, NOW_MS, as_json=False) == found
    if json_too and not isinstance(body, bytes):
        assert reader().read(as_json(body), caller, NOW_MS, as_json=True) == found
    return found
