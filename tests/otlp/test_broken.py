"""Broken, huge and hostile bodies: right, or a clear error, and the good spans are kept."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from costmeter.ingest.otlp.quick import quick
from costmeter.ingest.otlp.span import take_apart_here
from costmeter.ingest.otlp.traces import TraceReader
from costmeter.ingest.refusal import TooLarge, Unreadable
from costmeter.ingest.window import Window
from fakes.calls import NOW_MS
from otlp.bodies import CALLER, CHAT, NOW_NS, as_json, pairs, read, request, span

GOOD = request([span(1), span(2), span(3)]).SerializeToString()


def refused(*spans: Any, json_too: bool = True) -> list[tuple[int, str, str]]:
    """The refusals of a body of these spans and a good one at its end, which is booked."""
    found = read(request([*spans, span(99)]), json_too=json_too)
    assert [usage.event_id[-2:] for usage in found.batch.items] == ["63"]
    return [(one.place, one.field, one.code) for one in found.batch.rejections]


@pytest.mark.parametrize("size", range(1, len(GOOD), 7))
def test_a_body_that_is_cut_off_is_unreadable(size: int) -> None:
    with pytest.raises(Unreadable, match="no OTLP protobuf"):
        read(GOOD[:size])


def test_an_empty_body_is_an_empty_request() -> None:
    assert read(b"").batch.items == []
    assert TraceReader(Window()).read(b"{}", CALLER, NOW_MS, as_json=True).batch.items == []


@pytest.mark.parametrize("trace_id", [b"", b"\1" * 15, b"\1" * 17, bytes(16)])
def test_a_wrong_trace_id_is_refused(trace_id: bytes) -> None:
    wrong = span(1)
    wrong.trace_id = trace_id
    assert refused(wrong) == [(0, "trace_id", "invalid")]


@pytest.mark.parametrize("span_id", [b"", b"\1" * 7, b"\1" * 16, bytes(8)])
def test_a_wrong_span_id_is_refused(span_id: bytes) -> None:
    wrong = span(1)
    wrong.span_id = span_id
    assert refused(wrong) == [(0, "span_id", "invalid")]


def test_times_that_cannot_be() -> None:
    wrong = [span(number) for number in range(1, 6)]
    wrong[0].end_time_unix_nano = 0
    wrong[1].end_time_unix_nano = NOW_NS + 3_600 * 10**9
    wrong[2].end_time_unix_nano = NOW_NS - 8 * 86_400 * 10**9
    wrong[3].end_time_unix_nano = NOW_MS
    wrong[4].end_time_unix_nano = 2**64 - 1
    name = "end_time_unix_nano"
    assert refused(*wrong) == [
        (0, name, "missing"),
        (1, name, "future"),
        (2, name, "too_old"),
        (3, name, "invalid"),
        (4, name, "future"),
    ]


def test_a_span_that_ends_before_it_began_has_no_latency() -> None:
    odd = span(1)
    odd.start_time_unix_nano = odd.end_time_unix_nano + 5
    assert read(request([odd])).batch.items[0].latency_ms == 0


@pytest.mark.parametrize("count", [-1, 10**9 + 1, 2**63 - 1, 1.5, "12", True, [3], b"x", {"a": 1}])
def test_what_is_no_count_is_refused_by_name(count: Any) -> None:
    wrong = span(1, {**CHAT, "gen_ai.usage.input_tokens": count})
    assert refused(wrong) == [(0, "gen_ai.usage.input_tokens", "usage")]


@pytest.mark.parametrize("text", ["x" * 201, ["a"], {"a": "b"}, b"x"])
def test_what_is_no_text_is_refused_by_name(text: Any) -> None:
    assert [r[1] for r in refused(span(1, {**CHAT, "tenant.id": text}))] == ["tenant.id"]


def test_an_empty_value_is_no_attribute() -> None:
    usage = read(request([span(1, {**CHAT, "tenant.id": AnyValue(), "user.id": 5})])).batch.items[0]
    assert (usage.labels.tenant_id, usage.user_id) == ("default", "5")


def test_control_characters_are_refused() -> None:
    assert refused(span(1, {**CHAT, "gen_ai.response.id": "a\nb"})) == [
        (0, "gen_ai.response.id", "invalid")
    ]
    assert refused(span(1, {**CHAT, "tenant.id": "a\0b"})) == [(0, "tenant_id", "invalid")]


def test_a_missing_provider_or_model_is_refused() -> None:
    without = {k: v for k, v in CHAT.items() if "provider" not in k}
    assert refused(span(1, without)) == [(0, "gen_ai.provider.name", "missing")]
    without = {k: v for k, v in CHAT.items() if "model" not in k}
    assert refused(span(1, without)) == [(0, "model", "missing")]


def test_text_that_is_not_utf_8() -> None:
    raw = request([span(1, {**CHAT, "tenant.id": "acme-1"}), span(2)]).SerializeToString()
    found = read(raw.replace(b"acme-1", b"ac\xffe-1"))
    assert [(one.place, one.field, one.code) for one in found.batch.rejections] == [
        (0, "tenant.id", "unreadable")
    ]
    assert len(found.batch.items) == 1
    # Nobody looks at what is not needed.
    raw = request([span(1, {**CHAT, "prompt": "acme-1"})]).SerializeToString()
    assert len(read(raw.replace(b"acme-1", b"ac\xffe-1")).batch.items) == 1


def test_a_bad_resource_refuses_its_calls_and_no_others() -> None:
    made = request([span(1)], {"tenant.id": "x" * 300})
    made.MergeFrom(request([span(2), span(3, {"http.route": "/"})], {"tenant.id": "acme"}))
    found = read(made)
    assert [usage.labels.tenant_id for usage in found.batch.items] == ["acme"]
    assert [one.field for one in found.batch.rejections] == ["tenant.id"]
    assert found.ignored == {"not_genai": 1}


def test_one_span_that_is_no_span_spoils_no_other() -> None:
    made = request([span(1), span(2), span(3)])
    raw = made.SerializeToString()
    second = made.resource_spans[0].scope_spans[0].spans[1].SerializeToString()
    found = read(raw.replace(second, b"\xff" * len(second)))
    assert [usage.event_id[-1] for usage in found.batch.items] == ["1", "3"]
    assert [(one.place, one.code) for one in found.batch.rejections] == [(1, "unreadable")]


def test_ignored_attributes_of_a_megabyte_cost_nothing_much() -> None:
    prompt = "\N{SNOWMAN}" * 350_000
    made = request([span(n, {**CHAT, "gen_ai.input.messages": prompt}) for n in range(1, 4)])
    raw = made.SerializeToString()
    reader = TraceReader(Window())
    tracemalloc.start()
    found = reader.read(raw, CALLER, NOW_MS, as_json=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.batch.items) == 3
    assert peak < 3 * len(raw)
    assert refused(span(1, {**CHAT, "tenant.id": prompt})) == [(0, "tenant.id", "invalid")]


def test_nesting_without_end() -> None:
    inner = AnyValue(string_value="x")
    for _ in range(40):
        outer = AnyValue()
        outer.array_value.values.append(inner)
        inner = outer
    assert len(read(request([span(1, {**CHAT, "deep": inner})]), json_too=False).batch.items) == 1
    # Deeper than the official library writes: by hand.
    deep = b"\x0a\x01x"
    for _ in range(5_000):
        deep = _message(0x2A, _message(0x0A, deep))
    keyed = _message(0x4A, b"\x0a\x04deep" + _message(0x12, deep))
    chat = span(1).SerializeToString() + keyed
    raw = _message(0x0A, _message(0x12, _message(0x12, chat)))
    assert len(read(raw).batch.items) == 1
    made = json.loads(as_json(request([span(1), span(2)])))
    nested = '{"arrayValue":{"values":[' * 5_000 + "]}}" * 5_000
    made["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].append(
        {"key": "deep", "value": "HERE"}
    )
    body = json.dumps(made).replace('"HERE"', nested).encode()
    with pytest.raises(Unreadable, match="no OTLP JSON"):
        TraceReader(Window()).read(body, CALLER, NOW_MS, as_json=True)


def _message(tag: int, content: bytes) -> bytes:
    size, encoded = len(content), b""
    while size > 0x7F:
        encoded += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return bytes((tag,)) + encoded + bytes((size,)) + content


def test_ten_thousand_spans_and_one_more() -> None:
    spans = [span(number) for number in range(1, 10_002)]
    assert len(read(request(spans[:10_000]), json_too=False).batch.items) == 10_000
    with pytest.raises(TooLarge, match="10000 calls"):
        read(request(spans), json_too=False)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("level", range(3))
def test_a_flood_of_empty_pieces_is_refused_before_it_takes_memory(
    level: int, library: bool
) -> None:
    body = bytes((0x12 if level else 0x0A, 0)) * 500_000
    for tag in (0x12, 0x0A)[2 - level :]:
        body = _message(tag, body)
    reader = TraceReader(Window())
    if not library:
        reader._quick = None
    tracemalloc.start()
    with pytest.raises(TooLarge):
        reader.read(body, CALLER, NOW_MS, as_json=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


def test_a_span_of_ten_thousand_attributes_is_refused() -> None:
    many = span(1)
    many.attributes.extend(pairs({f"a{n}": n for n in range(10_000)}))
    assert refused(many) == [(0, "attributes", "unreadable")]


def test_refusals_that_are_remembered_keep_no_body_alive() -> None:
    raw = request([span(1, {**CHAT, "gen_ai.usage.input_tokens": -1})]).SerializeToString()
    reader = TraceReader(Window())
    for _ in range(3):
        assert len(reader.read(raw, CALLER, NOW_MS, as_json=False).batch.rejections) == 1
    remembered = [value for field, value in reader._attributes.values() if field == "bad"]
    assert [refused.__traceback__ for refused in remembered] == [None]


def test_the_last_of_repeated_attributes_counts() -> None:
    twice = span(1)
    twice.attributes.extend(pairs({"gen_ai.usage.input_tokens": 7}))
    assert read(request([twice])).batch.items[0].quantities["input"] == 7


def test_fields_in_any_order_and_unknown_ones() -> None:
    """A hand-written encoder: unknown fields of every wire type, long forms of numbers."""
    raw = span(1).SerializeToString()
    odd = (
        b"\xf8\x07\x05"  # field 127, a number
        b"\xf9\x07" + bytes(8) + b"\xfd\x07" + bytes(4) + b"\xfa\x07\x03abc" + raw
    )
    body = _message(0x0A, _message(0x12, _message(0x12, odd)))
    assert read(body).batch.items == read(request([span(1)])).batch.items


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_body_is_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _read_or_refuse(bytes(body), as_json=False)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_read_or_refused(body: bytes) -> None:
    _read_or_refuse(body, as_json=False)
    _read_or_refuse(body, as_json=True)


ENVELOPE = ("resourceSpans", "scopeSpans", "spans", "resource", "scope", "status", "code")
INNER = ("attributes", "key", "value", "stringValue", "intValue", "traceId", "endTimeUnixNano")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceSpans",
                    "scopeSpans",
                    "spans",
                    "attributes",
                    "key",
                    "value",
                    "stringValue",
                    "intValue",
                    "traceId",
                    "endTimeUnixNano",
                    "status",
                    "scope",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(JSON, st.sampled_from(["span", "attribute", "value", "resource", "body"]))
def test_json_of_the_wrong_types_is_read_or_refused(value: Any, where: str) -> None:
    made = json.loads(as_json(request([span(1), span(2)], {"service.name": "s"})))
    outer = made["resourceSpans"][0]
    spans = outer["scopeSpans"][0]["spans"]
    if where == "span":
        spans[0] = value
    elif where == "attribute":
        spans[0]["attributes"][0] = value
    elif where == "value":
        spans[0]["attributes"][0]["value"] = value
    elif where == "resource":
        outer["resource"] = value
    else:
        made = value
    found = _read_or_refuse(json.dumps(made).encode(), as_json=True)
    if found is not None and where in ("span", "attribute", "value"):
        assert len(found.batch.items) >= 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_library_and_we_take_spans_apart_alike(data: st.DataObject) -> None:
    body = bytearray(span(1).SerializeToString())
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] = data.draw(st.integers(0, 255))
    raw = bytes(body)
    library = quick()
    assert library is not None, "the tests need protobuf"
    found = library.spans(_message(0x12, raw))
    ours = next(take_apart_here([raw]))
    if found is not None and not isinstance(ours, Exception):
        assert next(found) == ours


def _read_or_refuse(body: bytes, *, as_json: bool) -> Any:
    with contextlib.suppress(Unreadable, TooLarge):
        return TraceReader(Window()).read(body, CALLER, NOW_MS, as_json=as_json)
    return None
