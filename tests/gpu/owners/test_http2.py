"""One call over a socket: whatever a server may send in between."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from costmeter.gpu.owners.frames import Gone
from costmeter.gpu.owners.hpack import Decoder, encode
from costmeter.gpu.owners.http2 import WINDOW, Answer, Connection, Reset, TooLarge

DATA, HEADERS, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 5, 6, 7, 8, 9,
)  # fmt: skip
STATUS = encode([(b":status", b"200")])
TRAILERS = encode([(b"grpc-status", b"0")])


def frame(kind: int, payload: bytes = b"", stream: int = 1, flags: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


ANSWER = frame(HEADERS, STATUS, flags=4) + frame(DATA, b"hello") + frame(HEADERS, TRAILERS, flags=5)


class Pair:
    """A connection, and the server's end of its socket."""

    def __init__(self) -> None:
        ours, self.server = socket.socketpair()
        self.server.settimeout(5)
        self.connection = Connection(ours)
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        assert self.server.recv(len(preface)) == preface
        self.sent()

    def call(self, *frames: bytes, body: bytes = b"ask", limit: int = 1000) -> Answer:
        self.server.sendall(b"".join(frames))
        return self.connection.call([(b":method", b"POST")], body, time.monotonic() + 5, limit)

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """The frames that the client sent so far: (kind, flags, stream, payload)."""
        self.server.setblocking(False)
        read = b""
        try:
            while more := self.server.recv(1 << 20):
                read += more
        except BlockingIOError:
            pass
        self.server.settimeout(5)
        found = []
        while read:
            size = int.from_bytes(read[:3], "big")
            found.append((read[3], read[4], int.from_bytes(read[5:9], "big"), read[9 : 9 + size]))
            read = read[9 + size :]
        return found


@pytest.fixture
def pair() -> Iterator[Pair]:
    one = Pair()
    yield one
    one.connection.close()
    one.server.close()


def test_a_call_and_its_answer(pair: Pair) -> None:
    answer = pair.call(frame(SETTINGS, stream=0), ANSWER)
    assert answer.headers == {b":status": b"200"}
    assert answer.body == b"hello"
    assert answer.trailers == {b"grpc-status": b"0"}
    headers, data, ack = pair.sent()
    assert Decoder().decode(headers[3]) == [(b":method", b"POST")]
    assert headers[:3] == (HEADERS, 4, 1)
    assert data == (DATA, 1, 1, b"ask")
    assert ack == (SETTINGS, 1, 0, b"")


def test_the_next_call_is_another_stream(pair: Pair) -> None:
    pair.call(ANSWER)
    pair.connection.check()
    assert pair.call(ANSWER.replace(b"\x00\x00\x00\x01", b"\x00\x00\x00\x03")).body == b"hello"


def test_bytes_may_come_one_by_one(pair: Pair) -> None:
    # All but the last byte is read by check(), in as many pieces.
    before = frame(PING, b"12345678", stream=0) + frame(SETTINGS, stream=0)
    for at in range(len(before)):
        pair.server.sendall(before[at : at + 1])
        pair.connection.check()
    assert pair.call(ANSWER).body == b"hello"
    assert pair.sent()[:2] == [(PING, 1, 0, b"12345678"), (SETTINGS, 1, 0, b"")]


def test_what_may_stand_in_between_changes_nothing(pair: Pair) -> None:
    between = (
        frame(PING, b"12345678", stream=0),
        frame(PING, b"87654321", stream=0, flags=1),
        frame(99, b"of a later version"),
        frame(WINDOW_UPDATE, struct.pack(">I", 100), stream=0),
        frame(DATA, b"of a call that was given up", stream=77),
        frame(HEADERS, encode([(b":status", b"103")]), flags=4),
    )
    assert pair.call(*between, ANSWER).body == b"hello"


def test_padding_priority_and_continuations_are_taken_off(pair: Pair) -> None:
    block = b"\x02" + b"\x00\x00\x00\x00\x10" + STATUS[:3] + b"\x00\x00"
    answer = pair.call(
        frame(HEADERS, block, flags=0x20 | 0x8),
        frame(CONTINUATION, STATUS[3:5]),
        frame(CONTINUATION, STATUS[5:], flags=4),
        frame(DATA, b"\x03hello\x00\x00\x00", flags=0x8),
        frame(HEADERS, TRAILERS, flags=5),
    )
    assert (answer.headers, answer.body) == ({b":status": b"200"}, b"hello")


def test_a_large_answer_is_told_what_was_read(pair: Pair) -> None:
    size, parts = 16_000, 200
    frames = [frame(DATA, b"x" * size) for _ in range(parts)]
    writer = threading.Thread(
        target=pair.server.sendall,
        args=(
            frame(HEADERS, STATUS, flags=4) + b"".join(frames) + frame(HEADERS, TRAILERS, flags=5),
        ),
    )
    writer.start()
    answer = pair.connection.call([], b"", time.monotonic() + 5, size * parts)
    writer.join(5)
    assert len(answer.body) == size * parts
    updates = [one for one in pair.sent() if one[0] == WINDOW_UPDATE]
    for stream in (0, 1):
        told = sum(int.from_bytes(one[3], "big") for one in updates if one[2] == stream)
        assert size * parts - WINDOW < told <= size * parts


def test_a_server_that_lets_nothing_in_is_waited_for(pair: Pair) -> None:
    closed = frame(SETTINGS, struct.pack(">HI", 4, 0), stream=0)
    pair.server.sendall(closed)
    pair.connection.check()
    opened = frame(WINDOW_UPDATE, struct.pack(">I", 2)) + frame(WINDOW_UPDATE, struct.pack(">I", 9))
    assert pair.call(opened, ANSWER).body == b"hello"
    data = [one[3] for one in pair.sent() if one[0] == DATA]
    assert b"".join(data) == b"ask"


def test_an_answer_above_the_limit(pair: Pair) -> None:
    with pytest.raises(TooLarge, match="larger than 4 bytes"):
        pair.call(ANSWER, limit=4)


def test_a_call_that_is_broken_off_leaves_the_connection(pair: Pair) -> None:
    with pytest.raises(Reset, match="error 11"):
        pair.call(frame(RST, struct.pack(">I", 11)))
    pair.connection.check()
    assert pair.call(ANSWER.replace(b"\x00\x00\x00\x01", b"\x00\x00\x00\x03")).body == b"hello"


@pytest.mark.parametrize(
    ("frames", "unseen"),
    [
        (frame(RST, struct.pack(">I", 7)), True),
        (frame(GOAWAY, struct.pack(">II", 0, 0), stream=0), True),
        (frame(SETTINGS, stream=0) + b"\xff\xff\xff" + b"\x00" * 6, False),
        (frame(DATA, b"\x09", flags=0x8), False),
        (frame(HEADERS, b"\xff\xff", flags=4), False),
        (frame(HEADERS, STATUS) + frame(PING, b"12345678", stream=0), False),
        (frame(RST, b"\x00"), False),
        (frame(HEADERS, STATUS) + frame(CONTINUATION, b"x" * 18_000) * 8, False),
    ],
    ids=[
        "refused", "goodbye", "huge frame", "padding", "no headers", "interrupted", "short",
        "headers without an end",
    ],
)  # fmt: skip
def test_a_connection_that_is_of_no_more_use(pair: Pair, frames: bytes, unseen: bool) -> None:
    with pytest.raises(Gone) as caught:
        pair.call(frames)
    assert caught.value.unseen is unseen


def test_a_goodbye_lets_the_call_finish_and_takes_no_other(pair: Pair) -> None:
    goodbye = frame(GOAWAY, struct.pack(">II", 1, 0), stream=0)
    assert pair.call(goodbye, ANSWER).body == b"hello"
    with pytest.raises(Gone, match="no more calls"):
        pair.connection.check()


def test_a_server_that_left_is_noticed_before_the_next_call(pair: Pair) -> None:
    pair.call(ANSWER)
    pair.server.close()
    with pytest.raises(Gone) as caught:
        pair.connection.check()
    assert caught.value.unseen


def test_a_server_that_leaves_in_the_middle(pair: Pair) -> None:
    pair.server.sendall(ANSWER[:20])
    pair.server.shutdown(socket.SHUT_WR)
    with pytest.raises(Gone) as caught:
        pair.connection.call([], b"ask", time.monotonic() + 5, 100)
    assert not caught.value.unseen


def test_time_runs_out(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        pair.connection.call([], b"ask", time.monotonic() + 0.02, 100)
    with pytest.raises(TimeoutError):
        pair.connection.call([], b"ask", time.monotonic(), 100)
