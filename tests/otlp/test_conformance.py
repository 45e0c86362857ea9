"""OpenTelemetry's own example bodies are read, and nothing of them is booked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from costmeter.ingest.otlp.metrics import MetricReader
from costmeter.ingest.otlp.traces import TraceReader
from costmeter.ingest.refusal import Unreadable
from costmeter.ingest.window import Window
from fakes.calls import NOW_MS
from otlp.bodies import CALLER, CHAT, as_json, request, span
from otlp.test_sums import body, histogram
from realdata.marks import needs

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("COSTMETER_DATA", ROOT.parent / "shared" / "data"))
EXAMPLES = DATA / "conformance" / "otlp"


def ignored(raw: bytes, *, of_spans: bool) -> Mapping[str, int]:
    reader: Any = (TraceReader if of_spans else MetricReader)(Window())
    found = reader.read(raw, CALLER, NOW_MS, as_json=True)
    assert (found.batch.items, found.batch.rejections) == ([], [])
    result: Mapping[str, int] = found.ignored
    return result


@needs(EXAMPLES / "trace.json")
def test_the_example_trace() -> None:
    raw = (EXAMPLES / "trace.json").read_bytes()
    assert ignored(raw, of_spans=True) == {"not_genai": 1}


@needs(EXAMPLES / "metrics.json")
def test_the_example_metrics() -> None:
    raw = (EXAMPLES / "metrics.json").read_bytes()
    assert ignored(raw, of_spans=False) == {"not_genai": 4}


@needs(EXAMPLES / "logs.json")
@pytest.mark.parametrize("name", ["logs.json", "events.json"])
def test_examples_of_other_signals_hold_nothing(name: str) -> None:
    raw = (EXAMPLES / name).read_bytes()
    assert ignored(raw, of_spans=True) == {}
    assert ignored(raw, of_spans=False) == {}


@needs(EXAMPLES / "trace.json")
def test_the_example_trace_as_a_call() -> None:
    """The same envelope, ids in upper case and all, around a call of now."""
    made = json.loads((EXAMPLES / "trace.json").read_bytes())
    one = made["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    call = json.loads(as_json(request([span(1)])))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    for name in ("attributes", "startTimeUnixNano", "endTimeUnixNano"):
        one[name] = call[name]
    found = TraceReader(Window()).read(json.dumps(made).encode(), CALLER, NOW_MS, as_json=True)
    [usage] = found.batch.items
    assert usage.event_id == "f:otlp:5b8efff798038103d269b633813fc60c-eee19b7ec3c1b174"
    assert usage.labels.service == "my.service"


def test_generated_bodies_of_the_same_shape() -> None:
    server = span(1, {"my.span.attr": "some value"}, kind=Span.SPAN_KIND_SERVER)
    assert ignored(as_json(request([server])), of_spans=True) == {"not_genai": 1}
    gauge = Metric(name="my.gauge", unit="1")
    gauge.gauge.data_points.add(as_double=10)
    made = body(gauge, histogram(None, 2.0, name="my.histogram", unit="1"))
    assert ignored(as_json(made), of_spans=False) == {"not_genai": 2}
    made_json = json.loads(as_json(request([span(1, CHAT)])))
    spans = made_json["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[0]["traceId"] = spans[0]["traceId"].upper()
    spans[0]["unknownField"] = {"a": [1]}
    found = TraceReader(Window()).read(json.dumps(made_json).encode(), CALLER, NOW_MS, as_json=True)
    assert len(found.batch.items) == 1


def test_ids_that_are_not_hexadecimal_are_refused() -> None:
    made = json.loads(as_json(request([span(1), span(2)])))
    made["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = "W47/95gDgQPSabYzgT/GDA=="
    found = TraceReader(Window()).read(json.dumps(made).encode(), CALLER, NOW_MS, as_json=True)
    assert [one.field for one in found.batch.rejections] == ["traceId"]
    assert len(found.batch.items) == 1
    with pytest.raises(Unreadable):
        TraceReader(Window()).read(b"[1, 2]", CALLER, NOW_MS, as_json=True)
