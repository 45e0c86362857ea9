"""What an application calls: what it sends, and that it never hurts."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from costmeter import Meter
from costmeter.normalise import normalise_response
from costmeter.sdk import Stats, attributes
from costmeter.sdk.event import encode
from costmeter.sdk.response import skeleton
from fakes.exporter import ROOT
from normalise.conformance import BODIES as REAL_BODIES
from normalise.conformance import cases
from normalise.test_dialects import BODIES
from sdk.balance import balanced
from sdk.collector import Collector

MakeMeter = Callable[..., Meter]

CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"message": {"role": "assistant", "content": "the secret answer"}}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 60},
    },
}


def only(collector: Collector, meter: Meter) -> dict[str, Any]:
    """The one event that came."""
    assert meter.flush(10), meter.stats
    (event,) = collector.events
    return event


def test_a_call_is_sent_as_it_was_told(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url, environment="prod", team="search")
    before = time.time_ns() // 1_000_000
    meter.track(
        provider="openai", model="gpt-4o", tokens={"input": 12, "output": 3},
        units={"web_searches": 1}, response_id="chatcmpl-1", latency_ms=812.4, status="error",
        tenant_id="acme", team="answers", tags={"experiment": "b"}, quality=0.5,
    )  # fmt: skip
    event = only(collector, meter)
    assert before <= event.pop("timestamp") <= time.time_ns() // 1_000_000
    assert len(event.pop("request_id")) > 20
    assert event == {
        "provider": "openai", "model": "gpt-4o", "tokens": {"input": 12, "output": 3},
        "units": {"web_searches": 1}, "response_id": "chatcmpl-1", "latency_ms": 812,
        "status": "error", "environment": "prod", "tenant_id": "acme", "team": "answers",
        "tags": {"experiment": "b"}, "quality": 0.5,
    }  # fmt: skip


def test_ids_never_repeat(collector: Collector, meter_for: MakeMeter) -> None:
    meters = [meter_for(collector.url) for _ in range(3)]
    for meter in meters:
        for _ in range(700):
            meter.track(provider="openai", model="gpt-4o", tokens={"input": 1})
    assert all(meter.flush(10) for meter in meters)
    ids = {event["request_id"] for event in collector.events}
    assert len(ids) == len(collector.events) == 2100


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 11, 22, 10, tzinfo=UTC),
        datetime(2026, 11, 22, 11, tzinfo=timezone(timedelta(hours=1))),
        1_795_341_600_000,
    ],
)
def test_an_own_id_and_time(
    collector: Collector, meter_for: MakeMeter, instant: datetime | int
) -> None:
    meter = meter_for(collector.url)
    meter.track(provider="x", model="m", tokens={}, request_id="mine-1", timestamp=instant)
    event = only(collector, meter)
    assert (event["request_id"], event["timestamp"]) == ("mine-1", 1_795_341_600_000)


def test_what_was_said_nearest_wins(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url, team="default", feature="default", project="default")
    outer = meter.attributes(team="outer", feature="outer", user_id="u1")
    with outer, attributes(feature="inner"):
        meter.track(provider="x", model="m", tokens={}, team=None, user_id="own")
    event = only(collector, meter)
    said = {name: event[name] for name in ("team", "feature", "project", "user_id")}
    assert said == {"team": "outer", "feature": "inner", "project": "default", "user_id": "own"}


def test_attributes_belong_to_their_thread_and_task(
    collector: Collector, meter_for: MakeMeter
) -> None:
    meter = meter_for(collector.url)

    async def task(tenant: str) -> None:
        with meter.attributes(tenant_id=tenant):
            await asyncio.sleep(0.01)
            meter.track(provider="x", model="m", tokens={}, session_id=tenant)
            await asyncio.to_thread(
                meter.track, provider="x", model="m", tokens={}, session_id=tenant
            )

    async def several() -> None:
        await asyncio.gather(*(task(f"task-{number}") for number in range(20)))

    def thread(tenant: str) -> None:
        with meter.attributes(tenant_id=tenant):
            time.sleep(0.01)
            meter.track(provider="x", model="m", tokens={}, session_id=tenant)

    asyncio.run(several())
    threads = [threading.Thread(target=thread, args=(f"thread-{n}",)) for n in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert meter.flush(10)
    assert len(collector.events) == 60
    assert all(event["tenant_id"] == event["session_id"] for event in collector.events)


def test_attributes_of_a_generator_that_others_close() -> None:
    def generator() -> Any:
        with attributes(tenant_id="inside"):
            yield 1

    made = generator()

    def begin() -> None:
        next(made)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    made.close()  # in another context than it began in


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "provider: missing; write provider="),
    "no model": ({"provider": "x"}, "model: missing"),
    "no usage": ({"provider": "x", "model": "m"}, "give tokens=, units= or usage="),
    "both": ({"provider": "x", "model": "m", "tokens": {}, "usage": {}}, "tokens or usage"),
    "model": ({"provider": "x", "model": 7, "tokens": {}}, "model: expected a text, not int"),
    "tokens": ({"provider": "x", "model": "m", "tokens": 5}, "expected integers by class"),
    "class": ({"provider": "x", "model": "m", "tokens": {"prompt_tokens": 1}}, "goes into usage="),
    "amount": ({"provider": "x", "model": "m", "tokens": {"input": 1.5}}, "tokens.input: expected"),
    "text": ({"provider": "x", "model": "m", "tokens": {}, "team": 5}, "write str(...)"),
    "field": ({"provider": "x", "model": "m", "tokens": {}, "tenant": "a"}, "known are account"),
    "naive": (
        {"provider": "x", "model": "m", "tokens": {}, "timestamp": datetime(2026, 1, 1)},  # noqa: DTZ001
        "write datetime.now(UTC)",
    ),
    "status": ({"provider": "x", "model": "m", "tokens": {}, "status": "fine"}, "one of ok, error"),
    "latency": ({"provider": "x", "model": "m", "tokens": {}, "latency_ms": "1"}, "milliseconds"),
    "nan": ({"provider": "x", "model": "m", "usage": {"a": float("nan")}}, "written as JSON"),
    "odd": ({"provider": "x", "model": "m", "usage": object()}, "no usage object"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_counted_and_explained(
    collector: Collector,
    meter_for: MakeMeter,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    arguments, advice = WRONG[name]
    meter = meter_for(collector.url)
    for _ in range(3):
        meter.track(**arguments)
    meter.track(provider="x", model="m", tokens={})
    only(collector, meter)
    assert meter.stats.dropped == {"invalid": 3}
    said = [record.message for record in caplog.records if record.name == "costmeter.sdk"]
    assert len(said) == 1
    assert advice in said[0]
    strict = meter_for(collector.url, strict=True)
    with pytest.raises((ValueError, TypeError)):
        strict.track(**arguments)


def test_arguments_without_a_name(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url)
    meter.track("openai", "gpt-4o", {"input": 1})  # type: ignore[arg-type]
    assert meter.stats.dropped == {"invalid": 1}
    with pytest.raises(ValueError, match="by name"):
        meter_for(collector.url, strict=True).track("openai")  # type: ignore[arg-type]


class Hostile(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("never read me")


def test_an_object_that_fails_while_it_is_read(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url)
    meter.track(provider="x", model="m", tokens=Hostile(input=1))
    meter.track(provider="x", model="m", tokens={"input": 1})
    only(collector, meter)
    assert meter.stats.dropped == {"invalid": 1}


def test_an_object_without_fields_of_its_own_is_explained(
    collector: Collector, meter_for: MakeMeter, caplog: pytest.LogCaptureFixture
) -> None:
    meter = meter_for(collector.url)
    message = descriptor_pb2.FieldDescriptorProto(number=3)  # any message of protobuf
    meter.track(provider="x", model="m", usage=message)
    assert meter.flush(5)
    assert (collector.events, meter.stats.dropped) == ([], {"invalid": 1})
    assert "FieldDescriptorProto is no usage object; give a dict of its counts" in caplog.text


def test_later_changes_of_a_mapping_do_not_matter(
    collector: Collector, meter_for: MakeMeter
) -> None:
    meter = meter_for(collector.url, linger_seconds=0.3)
    tokens = {"input": 1}
    meter.track(provider="x", model="m", tokens=tokens)
    tokens["input"] = 99
    assert only(collector, meter)["tokens"] == {"input": 1}


class Model:
    """As the clients' own: fields as attributes, plain values from `model_dump`."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return {n: v.model_dump() if isinstance(v, Model) else v for n, v in vars(self).items()}


@pytest.mark.parametrize(
    "body",
    [
        CHAT,
        json.dumps(CHAT),
        json.dumps(CHAT).encode(),
        Model(
            id=CHAT["id"], model=CHAT["model"], choices=[Model(content="the secret answer")],
            usage=Model(**{**CHAT["usage"], "prompt_tokens_details": Model(cached_tokens=60)}),  # type: ignore[dict-item]
        ),
    ],
    ids=["dict", "text", "bytes", "model"],
)  # fmt: skip
def test_a_response_is_sent_without_what_was_said(
    collector: Collector, meter_for: MakeMeter, body: object
) -> None:
    meter = meter_for(collector.url)
    meter.record_response(body, provider="openai", feature="answers")
    event = only(collector, meter)
    assert event["response"] == {n: CHAT[n] for n in ("id", "model", "usage")}
    assert event["feature"] == "answers"
    assert "secret" not in json.dumps(event)


@pytest.mark.parametrize("body", [{}, None, b"", "no json", {"choices": []}, 7, [CHAT]])
def test_a_response_without_usage_is_counted(
    collector: Collector, meter_for: MakeMeter, body: object
) -> None:
    meter = meter_for(collector.url)
    meter.record_response(body, provider="openai")
    assert meter.flush(5)
    assert (meter.stats.dropped, collector.events) == ({"invalid": 1}, [])


@pytest.mark.parametrize("name", BODIES)
def test_the_server_reads_the_same_from_what_is_left(name: str) -> None:
    provider, body, expected = BODIES[name]
    kept = skeleton(body)
    assert kept is not None
    assert normalise_response(provider, json.loads(json.dumps(kept))) == expected


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_BODIES.exists(), reason=f"{REAL_BODIES} is absent")
def test_the_server_reads_the_same_from_what_is_left_of_real_bodies() -> None:
    seen, differing = 0, []
    for case in cases():
        seen += 1
        kept = skeleton(case.body)
        whole = normalise_response(case.provider, case.body)
        if kept is None or normalise_response(case.provider, kept) != whole:
            differing.append(case.case_id)
    assert seen > 4000
    assert differing == []


def test_a_call_is_timed(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url)
    with meter.call(provider="openai", feature="answers", request_id="q-1") as call:
        time.sleep(0.05)
        call.record(CHAT)
        call.set(user_id="u1")
    event = only(collector, meter)
    assert 50 <= event["latency_ms"] < 2000
    assert (event["request_id"], event["user_id"], event["feature"]) == ("q-1", "u1", "answers")
    assert "status" not in event
    assert time.time() * 1000 - event["timestamp"] >= 50  # when the call was made, not its end


def test_an_exception_passes_and_is_told(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url)
    with pytest.raises(ZeroDivisionError), meter.call(provider="openai", model="gpt-4o"):
        _ = 1 / 0
    event = only(collector, meter)
    assert (event["status"], event["tokens"]) == ("error", {})


def test_a_cancelled_call_is_aborted(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url)

    async def forever() -> None:
        async with meter.call(provider="openai", model="gpt-4o") as call:
            call.count(usage={"prompt_tokens": 7, "completion_tokens": 1})
            await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    event = only(collector, meter)
    assert event["status"] == "aborted"
    assert event["usage"] == {"prompt_tokens": 7, "completion_tokens": 1}


def test_a_call_that_recorded_nothing_is_no_free_call(
    collector: Collector, meter_for: MakeMeter
) -> None:
    meter = meter_for(collector.url)
    with meter.call(provider="openai", model="gpt-4o"):
        pass
    assert meter.flush(5)
    assert (meter.stats.dropped, collector.events) == ({"invalid": 1}, [])


def test_two_responses_of_one_call(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url)
    with meter.call(provider="openai", request_id="q") as call:
        call.record(CHAT)
        call.record({**CHAT, "id": "chatcmpl-2"})
    assert meter.flush(5)
    assert [event["response"]["id"] for event in collector.events] == ["chatcmpl-1", "chatcmpl-2"]
    assert len({event["request_id"] for event in collector.events}) == 2
    assert ["latency_ms" in event for event in collector.events] == [True, False]


def test_settings_from_the_environment(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("COSTMETER_URL", collector.url)
    monkeypatch.setenv("COSTMETER_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("COSTMETER_TEAM", "search")
    monkeypatch.setenv("COSTMETER_ENVIRONMENT", "")
    with Meter(linger_seconds=0) as meter:
        meter.track(provider="x", model="m", tokens={})
        event = only(collector, meter)
    assert event["team"] == "search"
    assert "environment" not in event
    assert collector.sent[0].headers["authorization"] == "Bearer from-file"
    with Meter(linger_seconds=0, token="own", team="answers") as meter:
        meter.track(provider="x", model="m", tokens={})
        assert meter.flush(5)
    assert collector.events[1]["team"] == "answers"
    assert collector.sent[1].headers["authorization"] == "Bearer own"


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"url": "localhost:9952"}, "expected one like http://127.0.0.1:9952"),
        ({"url": "http://ann:secret@host"}, "token="),
        ({"url": "http://host:99999"}, "0-65535"),
        ({"url": "http://host/?a=1"}, "query"),
        ({"queue_events": 0}, "queue_events must be more than 0"),
        ({"exit_seconds": -1}, "exit_seconds must not be negative"),
        ({"tenant": "acme"}, "unknown field 'tenant'"),
    ],
)
def test_settings_that_cannot_work(settings: Mapping[str, Any], advice: str) -> None:
    with pytest.raises(ValueError, match=advice) as caught:
        Meter(**settings)
    assert "secret" not in str(caught.value)


def test_the_token_is_in_no_repr() -> None:
    meter = Meter(token="s3cret")
    assert "s3cret" not in f"{meter!r} {meter._settings!r} {vars(meter)!r}"


def test_after_the_end_events_are_counted(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url)
    meter.track(provider="x", model="m", tokens={})
    assert meter.close()
    assert meter.close()
    meter.track(provider="x", model="m", tokens={})
    assert meter.stats.dropped == {"closed": 1}
    assert balanced(meter.stats)


def test_an_unused_meter_costs_no_thread(collector: Collector) -> None:
    before = threading.active_count()
    meter = Meter(collector.url)
    assert meter.flush(0)
    assert meter.stats == Stats()
    assert threading.active_count() == before
    assert meter.close(0)


def test_a_broken_log_handler_hurts_nobody(collector: Collector, meter_for: MakeMeter) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no disk")

    log, handler = logging.getLogger("costmeter.sdk"), Broken()
    log.addHandler(handler)
    try:
        meter = meter_for(collector.url)
        meter.track("wrong")  # type: ignore[arg-type]
        meter.track(provider="", model="m", tokens={})
        assert meter.flush(5)
    finally:
        log.removeHandler(handler)
    assert meter.stats.dropped == {"invalid": 2}


def test_applications_import_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); from costmeter import Meter; Meter();"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "exporter"
    )
    assert (done.stdout.strip(), done.stderr) == ("['costmeter']", "")


def test_the_server_starts_without_the_sdk() -> None:
    code = "import sys, costmeter; print(costmeter.__version__, 'costmeter.sdk' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "exporter"
    )
    assert done.stdout.split()[1] == "False"


def test_one_line_holds_one_event() -> None:
    raw = (1, "x", "line\nbreak\ud800", {}, None, None, None, None, None, None, None, "ok", None,
           {"tags": {"a": "\n"}})  # fmt: skip
    line = encode(raw, "r", {})
    assert b"\n" not in line.json
    assert json.loads(line.json)["model"] == "line\nbreak\ud800"


def test_sending_imports_nothing_more(collector: Collector) -> None:
    """A fork while the sender's thread imports would lock that module for ever in the child."""
    code = (
        "import sys; from costmeter import Meter; meter = Meter(sys.argv[1]);"
        "before = set(sys.modules); meter.track(provider='x', model='m', tokens={});"
        "assert meter.flush(10); print(sorted(set(sys.modules) - before))"
    )
    url = collector.url.replace("127.0.0.1", "localhost")
    done = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, cwd=ROOT / "exporter"
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
