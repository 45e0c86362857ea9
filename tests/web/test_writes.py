from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from costmeter.web import Settings
from costmeter.web.intake import Intake
from fakes.calls import NOW, NOW_MS, call
from fakes.served import Rig, serving

USAGE = "/api/v1/usage"
SMALL = Settings(
    intake=Intake(
        max_body_bytes=20_000, in_flight_bytes=50_000, body_seconds=1, retry_after_seconds=7
    )
)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with serving(Rig()) as rig:
        yield rig


@pytest.fixture
def small() -> Iterator[Rig]:
    with serving(Rig(settings=SMALL)) as rig:
        yield rig


def test_events_are_booked_once(rig: Rig) -> None:
    body = [call(1), call(2), call(1), call(3, status="fine")]
    answer = rig.send(body)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "accepted": 2,
        "duplicate": 1,
        "observed": 0,
        "rejected": [
            {
                "index": 3,
                "field": "status",
                "reason": "expected one of ok, error, aborted",
                "retriable": False,
            }
        ],
    }
    assert rig.send(body).json()["duplicate"] == 3
    assert rig.door is not None
    assert [usage.event_id for usage in rig.door.usages] == ["f:http:r-1", "f:http:r-2"]
    assert rig.tally.read() == {
        "costmeter_events_accepted_total": {("http",): 2},
        "costmeter_events_duplicate_total": {("http",): 4},
        "costmeter_events_rejected_total": {("http", "invalid"): 2},
    }


def test_all_forms_of_a_body(rig: Rig) -> None:
    lines = {"Content-Type": "application/x-ndjson; charset=utf-8"}
    text = "\n".join(json.dumps(call(n)) for n in range(3)).encode()
    assert rig.ask("POST", USAGE, text, lines).json()["accepted"] == 3
    packed = gzip.compress(json.dumps({"events": [call(n) for n in range(3, 9)]}).encode())
    sent = rig.ask("POST", USAGE, packed, {"Content-Encoding": "gzip"})
    assert sent.json()["accepted"] == 6
    sent = rig.ask("POST", USAGE, json.dumps(call(9)), {"Content-Type": "Application/JSON"})
    assert sent.json()["accepted"] == 1


def test_a_large_body_is_read_in_a_thread_and_booked_whole(rig: Rig) -> None:
    answer = rig.send([call(n, tags={"note": "x" * 60}) for n in range(10_000)])
    assert answer.json()["accepted"] == 10_000
    answer = rig.send([call(n) for n in range(10_001)])
    assert answer.status == 413
    assert "at most 10000 events" in answer.json()["error"]


def test_one_event_of_two_models_counts_once(rig: Rig) -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 0,
        "output_tokens": 20,
        "iterations": [
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
            {
                "type": "advisor_message",
                "model": "claude-opus-4-6",
                "input_tokens": 100,
                "output_tokens": 50,
            },
            {"type": "message", "input_tokens": 0, "output_tokens": 15},
        ],
    }
    event = call(provider="anthropic", model="claude-sonnet-4-6", tokens=None, usage=usage)
    assert rig.send([event]).json()["accepted"] == 1
    assert rig.send([event]).json()["duplicate"] == 1
    assert rig.door is not None
    main, other = rig.door.usages
    assert (main.labels.model, other.labels.model) == ("claude-sonnet-4-6", "claude-opus-4-6")
    assert other.event_id == "f:http:r-1+1"
    assert other.quantities == {"input": 100, "output": 50}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"[{]", {"line": 1, "byte": 2}),
        (b'[\n{"a": 1},\n{"b": }]', {"line": 3, "byte": 18}),
        (b"", {"line": 1, "byte": 0}),
        (b"3", {"line": 1}),
    ],
)
def test_an_unreadable_body_is_a_400_that_says_where(
    rig: Rig, body: bytes, where: dict[str, int]
) -> None:
    answer = rig.ask("POST", USAGE, body)
    assert answer.status == 400
    said = answer.json()
    assert said.pop("error")
    assert said == where
    assert rig.tally.read()["costmeter_events_rejected_total"] == {("http", "unreadable"): 1}


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, "curl -d"),
        ({"Content-Type": "text/csv"}, "application/json"),
        ({"Content-Type": "application/json; charset=latin-1"}, "utf-8"),
        ({"Content-Encoding": "br"}, "gzip"),
        ({"Content-Encoding": "gzip, gzip"}, "gzip"),
    ],
)
def test_unknown_types_are_a_415(rig: Rig, headers: dict[str, str], says: str) -> None:
    answer = rig.ask("POST", USAGE, json.dumps([call()]), headers)
    assert answer.status == 415
    assert says in answer.json()["error"]
    assert rig.tally.read()["costmeter_events_rejected_total"] == {("http", "unsupported"): 1}


def test_broken_gzip_is_a_400(rig: Rig) -> None:
    packed = gzip.compress(json.dumps([call()]).encode())
    for body in (b"[]", packed[:-3], packed[:20], b""):
        answer = rig.ask("POST", USAGE, body, {"Content-Encoding": "gzip"})
        assert answer.status == 400
        assert "gzip" in answer.json()["error"]


def test_a_body_that_is_too_large_is_a_413_however_it_comes(small: Rig) -> None:
    large = b"[" + b" " * 20_000 + b"]"
    pieces = iter([large[:9000], large[9000:18_000], large[18_000:]])
    assert small.ask("POST", USAGE, large).status == 413
    assert small.ask("POST", USAGE, pieces).status == 413  # type: ignore[arg-type]
    packed = small.ask("POST", USAGE, gzip.compress(large), {"Content-Encoding": "gzip"})
    assert packed.status == 413
    assert "unpacks to more than 20000 bytes" in packed.json()["error"]
    assert small.tally.read()["costmeter_events_rejected_total"] == {("http", "too_large"): 3}
    assert small.ask("POST", USAGE, large[:19_999] + b"]").status == 200


def test_a_busy_ledger_is_a_429(rig: Rig) -> None:
    assert rig.door is not None
    rig.door._queue_events = 2
    answer = rig.send([call(n) for n in range(3)])
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")
    assert "nothing was taken" in answer.json()["error"]
    assert rig.door.usages == []
    assert rig.tally.read()["costmeter_ingest_throttled_total"] == {(): 1}
    assert rig.send([call(n) for n in range(2)]).status == 200


def test_a_broken_ledger_is_a_503_with_its_reason(rig: Rig) -> None:
    assert rig.door is not None
    rig.door.broken = "the disk is full; nothing was booked"
    for path, body in ((USAGE, call()), ("/api/v1/corrections", correction())):
        answer = rig.send(body, path)
        assert answer.status == 503
        assert answer.json() == {"error": "the disk is full; nothing was booked"}
        assert int(answer.headers["retry-after"]) > 0
    assert rig.door.usages == []


def test_a_replica_sends_writers_away() -> None:
    with serving(Rig(door=None)) as rig:
        answer = rig.send(call())
        assert answer.status == 503
        assert "only reads" in answer.json()["error"]


def test_bodies_in_flight_are_bounded_together(small: Rig) -> None:
    assert small.door is not None
    small.door.stuck = True
    body = json.dumps([call()]).ljust(19_000).encode()
    answers: list[int] = []

    def send(body: bytes) -> None:
        answers.append(small.ask("POST", USAGE, body).status)

    threads = [threading.Thread(target=send, args=(body,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while small.door.waiting_events < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    third = small.ask("POST", USAGE, body)
    assert (third.status, third.headers["retry-after"]) == (429, "7")
    # Packed bodies are counted by what they unpack to.
    packed = small.ask("POST", USAGE, gzip.compress(body), {"Content-Encoding": "gzip"})
    assert packed.status == 429
    small.door.stuck = False
    small.door.release()
    for thread in threads:
        thread.join(10)
    assert sorted(answers) == [200, 200]
    assert small.ask("POST", USAGE, body).json()["duplicate"] == 1


def test_a_body_that_never_ends_is_given_up(small: Rig) -> None:
    head = b"POST /api/v1/usage HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", small.port), timeout=5) as connection:
        connection.sendall(head + b"2\r\n[]\r\n")
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"nothing was taken" in answer
    assert small.send([call()]).status == 200


def test_a_sender_that_hangs_up_leaves_nothing_behind(small: Rig) -> None:
    head = b"POST /api/v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Length: 19000\r\n\r\n"
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", small.port), timeout=5) as connection:
            connection.sendall(head + b"[" + b" " * 15_000)
    # Had those bodies stayed in the budget, this one would not fit.
    body = json.dumps([call()]).ljust(19_000).encode()
    deadline = time.monotonic() + 5
    while (status := small.ask("POST", USAGE, body).status) == 429:
        assert time.monotonic() < deadline
    assert status == 200


def test_old_and_future_events(rig: Rig) -> None:
    rig.clock.advance(days=8)
    (old,) = rig.send([call()]).json()["rejected"]
    assert (old["field"], old["retriable"]) == ("timestamp", False)
    rig.clock.advance(days=-9)
    (future,) = rig.send([call()]).json()["rejected"]
    assert (future["field"], future["retriable"]) == ("timestamp", True)
    rig.clock.advance(days=1)
    assert rig.send([call()]).json()["accepted"] == 1


def correction(number: int = 1, **changes: object) -> dict[str, object]:
    return {
        "correction_id": f"c-{number}",
        "timestamp": NOW,
        "request_id": "r-1",
        "set": {"team": "ads"},
    } | changes


def test_corrections(rig: Rig) -> None:
    rig.send([call()])
    records = [correction(1), correction(1), correction(2, request_id="r-9"), correction(3, set={})]
    answer = rig.send({"corrections": records}, "/api/v1/corrections")
    assert answer.status == 200
    said = answer.json()
    assert (said["accepted"], said["duplicate"], said["observed"]) == (1, 1, 0)
    assert [(r["index"], r["field"]) for r in said["rejected"]] == [(2, ""), (3, "set")]
    assert "no such event" in said["rejected"][0]["reason"]
    assert rig.door is not None
    (booked,) = rig.door.corrected.values()
    counts = rig.tally.read()
    assert counts["costmeter_events_corrected_total"] == {("http",): 1}
    assert counts["costmeter_events_accepted_total"] == {("http",): 1}
    assert (booked.day, booked.changes) == (NOW_MS // 86_400_000, {"team": "ads"})


def test_an_acknowledged_event_is_committed_before_the_answer(rig: Rig) -> None:
    assert rig.door is not None
    rig.door.stuck = True
    answered = threading.Event()

    def send() -> None:
        assert rig.send([call()]).status == 200
        answered.set()

    thread = threading.Thread(target=send)
    thread.start()
    assert not answered.wait(0.3)
    rig.door.release()
    assert answered.wait(10)
    thread.join(10)
