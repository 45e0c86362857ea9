"""A small HTTP/2 client (RFC 9113): one call at a time over one socket, for gRPC's sake.

The usual gRPC package costs 30 MiB of memory; the one call that is needed here is a request
of five bytes and its answer. What a server may send in between is handled: settings, pings,
flow control, a farewell (GOAWAY), pushes are refused beforehand.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from costmeter.gpu.owners import frames, hpack
from costmeter.gpu.owners.frames import Gone, leading_number, without_padding, write_frame

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: How much a server may send ahead, and in one frame.
WINDOW = 1 << 20
_FRAME = 1 << 16
_DEFAULT_WINDOW = 65_535
#: An error code: the call was not begun, and may be made again.
_REFUSED_STREAM = 7
_HEADERS_LIMIT = 1 << 17
_LAST_STREAM = (1 << 31) - 1
_NO_MORE = "the server takes no more calls on this connection"


class Reset(Exception):
    """The server gave up on the call, with an error code of HTTP/2; the connection is fine."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the server broke off the call (HTTP/2 error {code})")
        self.code = code


class TooLarge(Exception):
    """The answer is above the limit that was set for it."""


@dataclass(slots=True)
class Answer:
    """Headers, body, and what headers came after the body."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    blocks: int = 0
    ended: bool = False
    unreported: int = 0


class Connection:
    """For one thread; `check` before each further `call`. The socket is its own from now on.

    Raises OSError and Gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._decoder = hpack.Decoder()
        self._next_stream = 1
        self._last_stream = _LAST_STREAM
        self._window = self._initial_window = _DEFAULT_WINDOW
        self._stream_window = 0
        self._largest_frame = 16_384
        self._unreported = 0
        settings = (
            (frames.ENABLE_PUSH, 0),
            (frames.INITIAL_WINDOW_SIZE, WINDOW),
            (frames.MAX_FRAME_SIZE, _FRAME),
        )
        sock.sendall(
            _PREFACE
            + write_frame(
                frames.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *one) for one in settings)
            )
            + write_frame(frames.WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - _DEFAULT_WINDOW))
        )

    def close(self) -> None:
        self._socket.close()

    def check(self) -> None:
        """See to what came since the last call. Raises Gone when the server has left."""
        self._socket.setblocking(False)
        try:
            while True:
                self._receive()
        except BlockingIOError:
            pass
        except OSError as error:
            raise Gone(f"the connection broke: {error}", unseen=True) from None
        except Gone as error:
            raise Gone(str(error), unseen=True) from None
        if self._next_stream > self._last_stream:
            raise Gone(_NO_MORE, unseen=True)

    def call(
        self, headers: Sequence[hpack.Header], body: bytes, until: float, limit: int
    ) -> Answer:
        """`until` is of `time.monotonic`, `limit` the largest answer in bytes.

        Raises TimeoutError, Reset, TooLarge, Gone or OSError; after any but Reset the
        connection is to be closed.
        """
        stream = self._next_stream
        self._next_stream += 2
        answer = Answer()
        self._stream_window = self._initial_window
        self._wait_until(until)
        block = hpack.encode(headers)
        self._socket.sendall(write_frame(frames.HEADERS, frames.END_HEADERS, stream, block))
        while True:
            size = min(len(body), self._window, self._stream_window, self._largest_frame)
            if size or not body:
                part, body = body[:size], body[size:]
                flags = 0 if body else frames.END_STREAM
                self._socket.sendall(write_frame(frames.DATA, flags, stream, part))
                self._window -= size
                self._stream_window -= size
                if not body:
                    break
            elif answer.ended:
                return answer
            else:
                self._step(stream, answer, until, limit)
        while not answer.ended:
            self._step(stream, answer, until, limit)
        return answer

    def _step(self, stream: int, answer: Answer, until: float, limit: int) -> None:
        frame = self._take()
        if frame is None:
            self._wait_until(until)
            self._receive(stream, answer, limit)
        else:
            self._handle(*frame, stream, answer, limit)

    def _wait_until(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def _receive(self, stream: int = 0, answer: Answer | None = None, limit: int = 0) -> None:
        more = self._socket.recv(_FRAME)
        if not more:
            raise Gone("the server closed the connection")
        self._buffer += more
        while (frame := self._take()) is not None:
            self._handle(*frame, stream, answer, limit)

    def _take(self) -> tuple[int, int, int, bytes] | None:
        """(kind, flags, stream, payload) of the next frame, when all of it is here.

        The continuations of headers follow them at once and come with them as one.
        """
        first = self._peek(0)
        if first is None:
            return None
        kind, flags, number, payload = first
        at = 9 + len(payload)
        if kind == frames.HEADERS:
            payload = without_padding(flags, payload)[5 if flags & frames.PRIORITY else 0 :]
            last = flags
            while not last & frames.END_HEADERS:
                if len(self._buffer) > _HEADERS_LIMIT:
                    raise Gone("headers without an end")
                more = self._peek(at)
                if more is None:
                    return None
                if more[0] != frames.CONTINUATION:
                    raise Gone("something else stands between headers and their continuation")
                last = more[1]
                payload += more[3]
                at += 9 + len(more[3])
        del self._buffer[:at]
        return kind, flags, number, payload

    def _peek(self, at: int) -> tuple[int, int, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < at + 9:
            return None
        size = int.from_bytes(buffer[at : at + 3], "big")
        if size > _FRAME:
            raise Gone(f"a frame of {size} bytes, which nobody asked for")
        end = at + 9 + size
        if len(buffer) < end:
            return None
        number = int.from_bytes(buffer[at + 5 : at + 9], "big") & _LAST_STREAM
        return buffer[at + 3], buffer[at + 4], number, bytes(buffer[at + 9 : end])

    def _handle(
        self, kind: int, flags: int, number: int, payload: bytes,
        stream: int, answer: Answer | None, limit: int,
    ) -> None:  # fmt: skip
        if kind == frames.DATA:
            self._data(flags, number, payload, stream, answer, limit)
        elif kind == frames.HEADERS:
            self._headers(flags, number, payload, stream, answer)
        elif kind == frames.RST_STREAM:
            if number == stream and answer is not None and not answer.ended:
                self._reset(leading_number(payload))
        elif kind == frames.GOAWAY:
            self._last_stream = min(self._last_stream, leading_number(payload) & _LAST_STREAM)
            if answer is not None and stream > self._last_stream:
                raise Gone(_NO_MORE, unseen=True)
        elif kind == frames.WINDOW_UPDATE:
            self._more_window(number, stream, leading_number(payload) & _LAST_STREAM)
        elif not flags & frames.ACK:
            self._control(kind, payload)

    def _control(self, kind: int, payload: bytes) -> None:
        if kind == frames.SETTINGS:
            self._settings(payload)
        elif kind == frames.PING:
            self._socket.sendall(write_frame(frames.PING, frames.ACK, 0, payload))

    def _reset(self, code: int) -> None:
        if code == _REFUSED_STREAM:
            raise Gone("the server refused the call", unseen=True)
        raise Reset(code)

    def _more_window(self, number: int, stream: int, more: int) -> None:
        if number == 0:
            self._window += more
        elif number == stream:
            self._stream_window += more

    def _data(
        self, flags: int, number: int, payload: bytes,
        stream: int, answer: Answer | None, limit: int,
    ) -> None:  # fmt: skip
        self._unreported += len(payload)
        if self._unreported >= WINDOW // 2:
            self._report(0, self._unreported)
            self._unreported = 0
        if number != stream or answer is None:
            return
        answer.body += without_padding(flags, payload)
        if len(answer.body) > limit:
            raise TooLarge(f"the answer is larger than {limit} bytes")
        answer.ended = bool(flags & frames.END_STREAM)
        answer.unreported += len(payload)
        if answer.unreported >= WINDOW // 2 and not answer.ended:
            self._report(stream, answer.unreported)
            answer.unreported = 0

    def _headers(
        self, flags: int, number: int, block: bytes, stream: int, answer: Answer | None
    ) -> None:
        try:
            # Also those of a call that was given up: they change the table.
            headers = dict(self._decoder.decode(block))
        except hpack.Malformed as error:
            raise Gone(f"unreadable headers: {error}") from None
        if number != stream or answer is None:
            return
        if headers.get(b":status", b"").startswith(b"1"):
            return
        if answer.blocks == 0:
            answer.headers = headers
        else:
            answer.trailers = headers
        answer.blocks += 1
        answer.ended = bool(flags & frames.END_STREAM)

    def _settings(self, payload: bytes) -> None:
        for at in range(0, len(payload) - 5, 6):
            name, value = struct.unpack_from(">HI", payload, at)
            if name == frames.INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == frames.MAX_FRAME_SIZE:
                self._largest_frame = value
        self._socket.sendall(write_frame(frames.SETTINGS, frames.ACK, 0, b""))

    def _report(self, stream: int, size: int) -> None:
        self._socket.sendall(write_frame(frames.WINDOW_UPDATE, 0, stream, struct.pack(">I", size)))
