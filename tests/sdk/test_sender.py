"""Between the meter and the server: batches, repeats, refusals, and what counts them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from costmeter import Meter
from costmeter.sdk.transport import retry_after
from fakes.exporter import free_port, wait_until
from sdk.balance import balanced
from sdk.collector import BlackHole, Collector, Reply, Sent, in_turn, refused, taken

MakeMeter = Callable[..., Meter]


def track(meter: Meter, events: int = 1) -> None:
    for _ in range(events):
        meter.track(provider="openai", model="gpt-4o", tokens={"input": 1})


def identities(sent: Sent) -> list[tuple[str, int]]:
    return [(event["request_id"], event["timestamp"]) for event in sent.events]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.name == "costmeter.sdk" and r.levelno >= 30]


def test_batches_are_bounded_and_share_a_connection(
    collector: Collector, meter_for: MakeMeter
) -> None:
    meter = meter_for(collector.url)
    track(meter, 1700)
    assert meter.flush(10)
    assert max(len(sent.events) for sent in collector.sent) <= 500
    assert len(collector.events) == 1700
    assert len({sent.client for sent in collector.sent}) == 1
    assert meter.stats.accepted == meter.stats.sent == 1700
    # Gzip: an event takes far less than its text.
    assert sum(sent.bytes for sent in collector.sent) < 1700 * 60


def test_events_wait_for_company_but_not_long(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url, linger_seconds=0.4)
    began = time.monotonic()
    for _ in range(10):
        track(meter)
        time.sleep(0.01)
    wait_until(lambda: meter.stats.accepted == 10, 5, "sent without a flush")
    assert len(collector.sent) <= 2
    assert 0.3 < time.monotonic() - began < 3


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_trouble_is_tried_again_with_the_same_ids_and_times(
    collector: Collector, meter_for: MakeMeter, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    collector.script = in_turn(refused(status, "the ledger is busy"), refused(status))
    meter = meter_for(collector.url)
    track(meter, 5)
    assert meter.flush(10)
    first, second, third = collector.sent
    assert identities(first) == identities(second) == identities(third)
    assert (meter.stats.accepted, meter.stats.retries, meter.stats.lost) == (5, 2, 0)
    assert len(warnings(caplog)) == 1
    assert "the ledger is busy" in warnings(caplog)[0]


@pytest.mark.parametrize("header", ["1", "date"])
def test_retry_after_is_honoured(collector: Collector, meter_for: MakeMeter, header: str) -> None:
    text = formatdate(time.time() + 2, usegmt=True) if header == "date" else header
    collector.script = in_turn(refused(429, Retry_After=text))
    times: list[float] = []
    plain = collector.script

    def timed(sent: Sent) -> Reply | None:
        times.append(time.monotonic())
        return plain(sent)

    collector.script = timed
    meter = meter_for(collector.url)
    track(meter)
    wait_until(lambda: collector.sent, 5, "a first try")
    assert not meter.flush(0.3)  # a hurry does not shorten it
    assert meter.flush(10)
    assert 0.9 <= times[1] - times[0] < 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("", None), ("soon", None), ("7", 7), ("999999", 3600), ("-5", None)],
)
def test_retry_after_texts(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_a_date_that_has_passed() -> None:
    assert retry_after(formatdate(time.time() - 60, usegmt=True)) == 0


def test_a_body_that_is_too_large_is_halved(collector: Collector, meter_for: MakeMeter) -> None:
    collector.script = lambda sent: refused(413) if len(sent.events) > 60 else None
    meter = meter_for(collector.url)
    track(meter, 500)
    assert meter.flush(10)
    assert meter.stats.accepted == 500
    delivered = [sent for sent in collector.sent if len(sent.events) <= 60]
    assert len({identity for sent in delivered for identity in identities(sent)}) == 500
    assert meter.stats.lost == 0


def test_one_event_that_is_too_large_is_lost_alone(
    collector: Collector, meter_for: MakeMeter, caplog: pytest.LogCaptureFixture
) -> None:
    collector.script = lambda sent: (
        refused(413) if any("tags" in event for event in sent.events) else None
    )
    meter = meter_for(collector.url)
    track(meter, 3)
    meter.track(provider="x", model="m", tokens={}, tags={"a": "b"})
    track(meter, 3)
    assert meter.flush(10)
    assert (meter.stats.accepted, meter.stats.rejected) == (6, {"http 413": 1})
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("status", [400, 415, 422])
def test_a_refused_body_is_counted_and_not_repeated(
    collector: Collector, meter_for: MakeMeter, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    collector.script = in_turn(refused(status, "not JSON"))
    meter = meter_for(collector.url)
    track(meter, 3)
    assert meter.flush(10)
    track(meter, 2)
    assert meter.flush(10)
    assert len(collector.sent) == 2
    assert (meter.stats.accepted, meter.stats.rejected) == (2, {f"http {status}": 3})
    assert len(warnings(caplog)) == 1
    assert "not JSON" in warnings(caplog)[0]


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (refused(401), "set token= or token_file="),
        (refused(403, "the token may only read"), "the token may only read"),
        (refused(404), "check url="),
        (refused(301, Location="https://other/"), "answered a redirect to https://other/"),
        (Reply(200, b"<html>hello</html>"), "this is no costmeter"),
        (Reply(200, {"accepted": 99, "duplicate": 0, "observed": 0, "rejected": []}), "no costme"),
        (Reply(200, []), "this is no costmeter"),
    ],
)
def test_a_wrong_door_is_not_tried_for_ever(
    collector: Collector,
    meter_for: MakeMeter,
    reply: Reply,
    advice: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector.script = lambda _: reply
    meter = meter_for(collector.url, token="s3cret")
    track(meter, 4)
    assert meter.flush(10)
    assert len(collector.sent) == 3
    assert meter.stats.rejected == {f"http {reply.status}": 4}
    track(meter, 2)
    assert meter.flush(10)
    assert meter.stats.rejected == {f"http {reply.status}": 6}
    assert len(warnings(caplog)) == 1
    assert advice in warnings(caplog)[0]
    assert "s3cret" not in caplog.text
    assert balanced(meter.stats)


def test_a_replaced_token_file_is_read_again(
    collector: Collector, meter_for: MakeMeter, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")

    def script(sent: Sent) -> Reply | None:
        if sent.headers["authorization"] == "Bearer new":
            return None
        file.write_text("new\n")
        return refused(401)

    collector.script = script
    meter = meter_for(collector.url, token_file=file)
    track(meter, 3)
    assert meter.flush(10)
    assert (meter.stats.accepted, meter.stats.lost) == (3, 0)


@pytest.mark.parametrize("content", [b"s3cret\nsecond", b"\xff\xfe", b"s3cr\xc3\xa9t"])
def test_a_token_that_no_header_can_carry(
    collector: Collector,
    meter_for: MakeMeter,
    tmp_path: Path,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "token").write_bytes(content)
    meter = meter_for(collector.url, token_file=tmp_path / "token")
    track(meter)
    assert meter.flush(5)
    assert "authorization" not in collector.sent[0].headers
    assert "no header can carry" in warnings(caplog)[0]
    assert "s3cr" not in caplog.text


def test_a_missing_token_file(
    collector: Collector, meter_for: MakeMeter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    meter = meter_for(collector.url, token_file=tmp_path / "none")
    track(meter)
    assert meter.flush(5)
    assert "token file cannot be read" in warnings(caplog)[0]


def test_refused_events_are_counted_by_field(
    collector: Collector, meter_for: MakeMeter, caplog: pytest.LogCaptureFixture
) -> None:
    collector.script = in_turn(
        taken(
            1,
            {"index": 1, "field": "tenant_id", "reason": "_other is reserved", "retriable": False},
            {"index": 2, "field": "", "reason": "odd", "retriable": False},
            duplicate=1,
        )
    )
    meter = meter_for(collector.url)
    track(meter, 4)
    assert meter.flush(10)
    assert meter.stats.rejected == {"tenant_id": 1, "event": 1}
    assert (meter.stats.accepted, meter.stats.duplicate) == (1, 1)
    assert any("tenant_id: _other is reserved" in said for said in warnings(caplog))
    assert balanced(meter.stats)


def test_a_retriable_event_is_sent_again_alone(collector: Collector, meter_for: MakeMeter) -> None:
    ahead = {"index": 1, "field": "timestamp", "reason": "in the future", "retriable": True}
    collector.script = in_turn(taken(2, ahead))
    meter = meter_for(collector.url)
    track(meter, 3)
    assert meter.flush(10)
    first, second = collector.sent
    assert identities(second) == [identities(first)[1]]
    assert (meter.stats.accepted, meter.stats.lost) == (3, 0)


def test_an_event_that_must_wait_does_not_hold_up_the_end(
    collector: Collector, meter_for: MakeMeter
) -> None:
    ahead = {"index": 0, "field": "timestamp", "reason": "in the future", "retriable": True}
    collector.script = lambda _: taken(0, ahead)
    meter = meter_for(collector.url, max_backoff_seconds=60)
    track(meter)
    wait_until(lambda: collector.sent, 5, "a first try")
    began = time.monotonic()
    assert not meter.close(5)
    assert time.monotonic() - began < 2
    assert meter.stats.dropped == {"exit": 1}


def test_a_full_queue_drops_the_newest_and_says_so_once(
    collector: Collector, meter_for: MakeMeter, caplog: pytest.LogCaptureFixture
) -> None:
    collector.gate.clear()
    meter = meter_for(collector.url, queue_events=100)
    for number in range(1000):
        meter.track(provider="x", model="m", tokens={}, request_id=str(number))
        if number % 50 == 0:
            time.sleep(0.005)
    stats = wait_until(lambda: balanced(meter.stats) and meter.stats, 5, "the books balance")
    assert stats.dropped.keys() == {"queue_full"}
    # A full outbox, what is on its way, and a full queue before it.
    assert stats.queued <= 200
    collector.gate.set()
    assert meter.flush(10)
    stats = meter.stats
    assert stats.tracked == 1000 == stats.accepted + stats.dropped["queue_full"]
    kept = [int(event["request_id"]) for event in collector.events]
    assert kept[:50] == list(range(50))
    assert len([said for said in warnings(caplog) if "new ones are dropped" in said]) == 1


def test_nobody_listens(meter_for: MakeMeter, caplog: pytest.LogCaptureFixture) -> None:
    meter = meter_for(f"http://127.0.0.1:{free_port()}")
    track(meter, 10)
    assert not meter.flush(0.5)
    assert meter.stats.queued == 10
    began = time.monotonic()
    assert not meter.close(0.3)
    assert time.monotonic() - began < 2
    assert meter.stats.dropped == {"exit": 10}
    assert balanced(meter.stats)
    assert [said for said in warnings(caplog) if "cannot be reached" in said]


def test_an_answer_that_never_comes_is_bounded(meter_for: MakeMeter) -> None:
    with BlackHole() as hole:
        meter = meter_for(hole.url, timeout_seconds=30)
        track(meter, 3)
        time.sleep(0.2)
        began = time.monotonic()
        assert not meter.close(0.5)
        assert time.monotonic() - began < 2
        assert meter.stats.dropped == {"exit": 3}
        assert balanced(meter.stats)


def test_when_it_is_over_the_log_says_so(
    collector: Collector, meter_for: MakeMeter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "costmeter.sdk")
    collector.script = in_turn(refused(503), refused(503))
    meter = meter_for(collector.url)
    track(meter)
    assert meter.flush(10)
    assert caplog.messages[-1] == f"costmeter: {collector.url} takes events again"


def test_a_connection_that_was_closed_meanwhile(meter_for: MakeMeter) -> None:
    port = free_port()
    with Collector(port=port) as first:
        meter = meter_for(first.url)
        track(meter)
        assert meter.flush(5)
    with Collector(port=port) as second:
        track(meter)
        assert meter.flush(5)
        assert len(second.events) == 1
    assert (meter.stats.accepted, meter.stats.retries) == (2, 0)


def test_many_threads(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url)
    threads = [threading.Thread(target=track, args=(meter, 400)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.flush(20)
    assert meter.stats.accepted == len({e["request_id"] for e in collector.events}) == 3200


def test_a_path_before_the_route(collector: Collector, meter_for: MakeMeter) -> None:
    meter = meter_for(collector.url + "/costs/")
    track(meter)
    assert meter.flush(5)
    assert collector.sent[0].path == "/costs/api/v1/usage"
