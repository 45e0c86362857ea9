"""Sending: what the server says to a body, and what becomes of its segments then."""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from costmeter.agent.rejects import Rejects
from costmeter.agent.sender import LAST_BACKOFF_SECONDS, Sender
from costmeter.agent.spool import Spool
from costmeter.agent.transport import Answer, retry_after
from costmeter.agent.verdict import read_verdict, token_reader
from costmeter.tally import Tally
from fakes.clock import FakeClock

Reply = Callable[[list[dict[str, int]]], Answer]


def ok(sent: list[dict[str, int]], *rejected: dict[str, object], duplicate: int = 0) -> Answer:
    said = {
        "accepted": len(sent) - duplicate - len(rejected),
        "duplicate": duplicate,
        "observed": 0,
        "rejected": rejected,
    }
    return Answer(200, json.dumps(said).encode(), None)


class Wire:
    """A server as the sender sees it: one reply after the other, the last one for ever."""

    def __init__(self) -> None:
        self.replies: list[Reply | Exception] = []
        self.bodies: list[list[int]] = []
        self.tokens: list[str | None] = []

    def post(self, packed: bytes, token: str | None, seconds: float | None = None) -> Answer:
        body = json.loads(zlib.decompress(packed, 31))
        sent = body["gpu_segments"]
        self.bodies.append([one["sequence"] for one in sent])
        self.tokens.append(token)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply(sent)

    def close(self) -> None:
        pass


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tally = Tally()
        self.clock = FakeClock()
        self.wire = Wire()
        self.token_file = folder / "token"
        self.token_file.write_text("secret-1\n")
        self.spool = Spool(folder, 1 << 24, self.clock, self.tally)
        self.sender = Sender(
            self.spool, self.wire, token_reader(self.token_file), Rejects(folder), self.clock,
            self.tally, where="https://server", uniform=max,
        )  # fmt: skip

    def append(self, count: int, first: int = 0) -> None:
        self.spool.append([b'{"sequence":%d}' % n for n in range(first, first + count)])

    def counted(self, name: str) -> dict[str, float]:
        found = self.tally.read().get(f"costmeter_agent_{name}_total", {})
        return {labels[0]: value for labels, value in found.items() if value}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.spool.close()


def status(code: int, wait: float | None = None, text: str = "no") -> Reply:
    return lambda _: Answer(code, json.dumps({"error": text}).encode(), wait)


def test_what_is_acknowledged_leaves_the_disk(bench: Bench) -> None:
    bench.append(1_200)
    bench.wire.replies = [lambda sent: ok(sent, duplicate=2)]
    assert [bench.sender.step() for _ in range(4)] == [0, 0, 0, 10]
    assert [len(body) for body in bench.wire.bodies] == [500, 500, 200]
    assert [n for body in bench.wire.bodies for n in body] == list(range(1_200))
    assert bench.counted("segments_forwarded") == {"accepted": 1_194, "duplicate": 6}
    assert bench.spool.state().segments == 0
    assert bench.wire.tokens == ["secret-1"] * 3


def test_nothing_is_lost_while_the_server_is_away_and_waits_grow(bench: Bench) -> None:
    bench.append(3)
    bench.wire.replies = [
        ConnectionRefusedError(111, "Connection refused"), TimeoutError(), status(503),
        ssl.SSLCertVerificationError("x"), *([status(500)] * 5), ok,
    ]  # fmt: skip
    waits = [bench.sender.step() for _ in range(9)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, LAST_BACKOFF_SECONDS, 60]
    assert bench.spool.state().segments == 3
    assert bench.counted("forward_failures") == {
        "network": 1, "timeout": 1, "tls": 1, "server_error": 6,
    }  # fmt: skip
    assert bench.sender.step() == 0
    assert bench.spool.state().segments == 0
    bench.append(1)
    bench.wire.replies = [status(500)]
    assert bench.sender.step() == 1  # a success begins anew


def test_retry_after_is_kept(bench: Bench) -> None:
    bench.append(1)
    bench.wire.replies = [status(429, 7.0)]
    assert bench.sender.step() == pytest.approx(7.7)
    assert retry_after("12") == 12
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert retry_after("99999999") == 3600
    assert retry_after("soon") is None


def test_a_renewed_token_is_read_when_the_old_one_is_refused(bench: Bench) -> None:
    bench.append(2)
    bench.wire.replies = [status(401), ok]
    bench.sender.step()
    bench.token_file.write_text("secret-2")
    bench.sender.step()
    assert bench.wire.tokens == ["secret-1", "secret-2"]
    assert bench.counted("forward_failures") == {"unauthorized": 1}
    assert bench.counted("segments_forwarded") == {"accepted": 2}


def test_a_token_file_that_is_gone_or_is_no_token_keeps_everything(bench: Bench) -> None:
    bench.append(2)
    bench.wire.replies = [ok]
    bench.token_file.unlink()
    assert bench.sender.step() > 0
    bench.token_file.write_text("two\nlines")
    assert bench.sender.step() > 0
    assert bench.wire.bodies == []
    bench.token_file.write_text("t")
    bench.sender.step()
    assert bench.counted("forward_failures") == {"token": 2}
    assert bench.spool.state().segments == 0


def test_a_body_that_is_too_large_is_halved_down_to_one(bench: Bench) -> None:
    bench.append(8)
    bench.wire.replies = [lambda sent: ok(sent) if len(sent) <= 2 else Answer(413, b"", None)]
    while bench.sender.step() == 0:
        pass
    assert [len(body) for body in bench.wire.bodies[:3]] == [8, 4, 2]
    assert bench.counted("segments_forwarded") == {"accepted": 8}
    bench.append(1, first=8)
    bench.wire.replies = [status(413, text="far too large")]
    bench.sender.step()
    assert bench.spool.state().segments == 0
    (row,) = (bench.folder / "rejected.ndjson").read_text().splitlines()
    assert json.loads(row) == {
        "field": "body", "reason": "far too large", "segment": {"sequence": 8},
    }  # fmt: skip


def test_what_is_refused_for_good_is_kept_aside_and_counted(bench: Bench) -> None:
    bench.append(3)
    refusal = {"index": 1, "field": "shares[0].used_ms", "reason": "bad", "retriable": False}
    bench.wire.replies = [lambda sent: ok(sent, refusal)]
    bench.sender.step()
    assert bench.spool.state().segments == 0
    assert bench.counted("segments_rejected") == {"shares": 1}
    (row,) = (bench.folder / "rejected.ndjson").read_text().splitlines()
    assert json.loads(row)["segment"] == {"sequence": 1}


def test_what_can_be_right_later_goes_to_the_end_and_holds_up_nothing(bench: Bench) -> None:
    bench.append(3)
    later = {"index": 0, "field": "start_ms", "reason": "in the future", "retriable": True}
    bench.wire.replies = [lambda sent: ok(sent, later), lambda sent: ok(sent, later)]
    assert bench.sender.step() == 0
    bench.append(1, first=9)
    bench.wire.replies = [lambda sent: ok(sent, later), ok]
    assert bench.sender.step() == 0
    assert bench.sender.step() == 0
    assert bench.wire.bodies == [[0, 1, 2], [0, 9], [0]]
    assert bench.counted("segments_forwarded") == {"accepted": 4}


def test_an_answer_that_is_none_settles_nothing(bench: Bench) -> None:
    bench.append(2)
    bench.wire.replies = [lambda _: Answer(200, b"<html>", None)]
    assert bench.sender.step() > 0
    assert bench.spool.state().segments == 2
    assert read_verdict(b'{"accepted":1,"duplicate":0,"observed":0,"rejected":[]}', 2) is None
    assert read_verdict(b"[]", 1) is None


def test_the_reject_file_is_bounded(tmp_path: Path) -> None:
    rejects = Rejects(tmp_path, most_bytes=200)
    for number in range(50):
        rejects.keep([(b'{"sequence":%d}' % number, "shares", "bad")])
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 200
    assert '"sequence":49' in (tmp_path / "rejected.ndjson").read_text()
