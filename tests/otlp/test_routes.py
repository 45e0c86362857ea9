"""The HTTP of OTLP: content types, answers in the sender's encoding, what is repeatable."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator

import pytest
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from costmeter.attribution import Scope
from costmeter.ingest.otlp.reading import Rules
from costmeter.web import Access, Settings
from costmeter.web.intake import Intake
from fakes.served import Answer, Rig, serving
from fakes.tokens import bearer, three_tokens
from otlp.bodies import CHAT, as_json, request, span
from otlp.test_sums import body, histogram

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
SMALL = Settings(
    intake=Intake(
        max_body_bytes=20_000, in_flight_bytes=50_000, body_seconds=1, retry_after_seconds=7
    )
)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with serving(Rig()) as rig:
        yield rig


def post(rig: Rig, message: Message | bytes, path: str = "/v1/traces", **headers: str) -> Answer:
    raw = message if isinstance(message, bytes) else message.SerializeToString()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return rig.ask("POST", path, raw, PROTOBUF | named)


def status_of(answer: Answer) -> tuple[int, str]:
    """Code and message of a google.rpc.Status in either encoding."""
    if answer.headers["content-type"] == "application/json":
        said = answer.json()
        return said["code"], said["message"]
    status = Status.FromString(answer.body)
    return status.code, status.message


def test_full_success_is_the_empty_message(rig: Rig) -> None:
    made = request([span(1), span(2)])
    answer = post(rig, made)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans == 0
    again = rig.ask("POST", "/v1/traces", as_json(made), JSON)
    assert (again.status, again.body) == (200, b"{}")
    assert again.headers["content-type"] == "application/json"
    assert rig.door is not None
    assert len(rig.door.usages) == 2
    assert rig.tally.read() == {
        "costmeter_events_accepted_total": {("otlp",): 2},
        "costmeter_events_duplicate_total": {("otlp",): 2},
    }


def test_partial_success_says_how_many_and_why(rig: Rig) -> None:
    wrong = span(1, {**CHAT, "gen_ai.usage.input_tokens": -1})
    made = request([wrong, span(2), span(3, {"http.route": "/"}), span(0)])
    answer = post(rig, made)
    assert answer.status == 200
    said = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert said.rejected_spans == 2
    assert "gen_ai.usage.input_tokens: -1 is no count" in said.error_message
    assert "first at 0" in said.error_message
    said_json = rig.ask("POST", "/v1/traces", as_json(made), JSON).json()
    assert said_json["partialSuccess"]["rejectedSpans"] == "2"
    assert said_json["partialSuccess"]["errorMessage"] == said.error_message
    found = rig.tally.read()
    assert found["costmeter_events_rejected_total"] == {
        ("otlp", "usage"): 2,
        ("otlp", "invalid"): 2,
    }
    assert found["costmeter_otlp_spans_ignored_total"] == {("otlp", "not_genai"): 2}


def test_metrics_have_a_feed_of_their_own() -> None:
    scopes = (Scope("all", detail_from="otlp-metrics"),)
    with serving(Rig(settings=Settings(otlp=Rules(scopes=scopes)))) as rig:
        made = body(histogram("input", 9.0), histogram("input", -9.0, said={"a": 1}))
        answer = post(rig, made, "/v1/metrics")
        said = ExportMetricsServiceResponse.FromString(answer.body).partial_success
        assert said.rejected_data_points == 1
        assert rig.door is not None
        assert [usage.feed for usage in rig.door.usages] == ["otlp-metrics"]
        again = rig.ask("POST", "/v1/metrics", as_json(made), JSON).json()
        assert again["partialSuccess"]["rejectedDataPoints"] == "1"


def test_sums_that_are_only_compared_are_counted(rig: Rig) -> None:
    assert post(rig, body(histogram("input", 9.0)), "/v1/metrics").body == b""
    assert rig.tally.read() == {"costmeter_events_observed_total": {("otlp-metrics", "default"): 1}}


def test_gzip(rig: Rig) -> None:
    packed = gzip.compress(request([span(1)]).SerializeToString())
    assert post(rig, packed, content_encoding="gzip").status == 200
    assert rig.door is not None
    assert len(rig.door.usages) == 1
    broken = post(rig, packed[:-20], content_encoding="gzip")
    assert (broken.status, status_of(broken)[0]) == (400, 3)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics"])
@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_what_cannot_be_read(rig: Rig, path: str, headers: dict[str, str]) -> None:
    answer = rig.ask("POST", path, b"\xff\xff", headers)
    assert answer.status == 400
    assert answer.headers["content-type"] == headers["content-type"]
    code, message = status_of(answer)
    assert code == 3
    assert "the body is no OTLP" in message
    assert list(rig.tally.read()["costmeter_events_rejected_total"].values()) == [1]


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-ndjson"])
def test_other_content_types(rig: Rig, kind: str) -> None:
    answer = rig.ask("POST", "/v1/traces", b"x", {"content-type": kind})
    assert answer.status == 415
    assert answer.headers["accept-post"] == "application/x-protobuf, application/json"
    assert "application/x-protobuf or application/json" in status_of(answer)[1]


def test_other_methods(rig: Rig) -> None:
    assert rig.ask("GET", "/v1/traces").status == 405


def test_too_large_and_too_much() -> None:
    with serving(Rig(settings=SMALL)) as rig:
        large = post(rig, request([span(1, {**CHAT, "a": "x" * 30_000})]))
        assert (large.status, status_of(large)[0]) == (413, 8)
        bomb = post(rig, gzip.compress(bytes(10_000_000)), content_encoding="gzip")
        assert bomb.status == 413
    with serving(Rig(settings=Settings(max_events=2))) as rig:
        answer = post(rig, request([span(1), span(2), span(3)]))
        assert (answer.status, status_of(answer)[1]) == (
            413,
            "a body holds at most 2 calls to models; send smaller batches",
        )


def test_a_busy_ledger_and_a_broken_one_ask_to_come_back(rig: Rig) -> None:
    assert rig.door is not None
    rig.door._queue_events = 1
    busy = post(rig, request([span(1), span(2)]))
    assert (busy.status, busy.headers["retry-after"], status_of(busy)[0]) == (429, "3", 8)
    assert rig.tally.read()["costmeter_ingest_throttled_total"] == {(): 1}
    rig.door.broken = "the disk is full"
    broken = post(rig, request([span(1)]))
    assert (broken.status, status_of(broken)) == (503, (14, "the disk is full"))
    assert int(broken.headers["retry-after"]) > 0
    rig.door.broken = ""
    assert post(rig, request([span(1)])).status == 200


def test_nothing_is_counted_twice_when_a_body_comes_again(rig: Rig) -> None:
    assert rig.door is not None
    rig.door._queue_events = 0
    made = request([span(1), span(2, {"http.route": "/"})])
    assert post(rig, made).status == 429
    assert "costmeter_otlp_spans_ignored_total" not in rig.tally.read()
    rig.door._queue_events = 10
    assert post(rig, made).status == 200
    assert rig.tally.read()["costmeter_otlp_spans_ignored_total"] == {("otlp", "not_genai"): 1}


def test_a_replica_sends_elsewhere() -> None:
    with serving(Rig(door=None)) as rig:
        answer = post(rig, request([span(1)]))
        assert answer.status == 503
        assert "only reads" in status_of(answer)[1]


def test_tokens_decide_feed_and_tenant() -> None:
    access = Access(listen_host="127.0.0.1", tokens=three_tokens())
    with serving(Rig(access=access)) as rig:
        made = request([span(1), span(2, {**CHAT, "tenant.id": "other"})])
        missing = post(rig, made)
        assert (missing.status, status_of(missing)[0]) == (401, 16)
        assert "www-authenticate" in missing.headers
        assert post(rig, made, **bearer("look")).status == 403
        assert post(rig, made, **bearer("acme")).status == 200
        assert rig.door is not None
        assert [(u.feed, u.labels.tenant_id) for u in rig.door.usages] == [
            ("feed-acme-otlp", "acme")
        ]
        assert rig.tally.read()["costmeter_events_rejected_total"] == {
            ("unknown", "unauthorized"): 2,
            ("feed-acme-otlp", "tenant"): 1,
        }


def test_web_pages_may_not_send(rig: Rig) -> None:
    answer = post(rig, request([span(1)]), origin="https://example.com")
    assert (answer.status, status_of(answer)[0]) == (403, 7)


def test_protobuf_is_loaded_when_it_is_needed() -> None:
    code = "import sys, costmeter.cli.serve; print('google.protobuf' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
