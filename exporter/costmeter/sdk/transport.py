"""One kept-alive connection to the server: a body out, an answer in."""

from __future__ import annotations

import contextlib

# Not for its names: connecting imports it. A fork in the middle of an import leaves the
# module locked for ever in the child, so whatever the thread needs is imported beforehand.
import encodings.idna  # noqa: F401
import http.client
import os
import socket
import time
import zlib
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from costmeter.sdk.event import Line
from costmeter.sdk.settings import Settings

PATH = "/api/v1/usage"
#: An answer to 500 events that were all refused takes under 300 kB.
_MOST_ANSWER_BYTES = 4 << 20
#: Past an hour a Retry-After is more likely a mistake than a plan.
_MOST_RETRY_AFTER = 3600.0
_GZIP = zlib.MAX_WBITS | 16

#: Everything that a connection can fail with.
FAILURES = (OSError, http.client.HTTPException)

#: Connections of the parent, in a forked child: kept, so that nobody collects them.
_INHERITED: list[http.client.HTTPConnection] = []


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: float | None
    location: str


def pack(lines: Sequence[Line]) -> bytes:
    """NDJSON, gzipped. Level 1: a tenth of the bytes for a hundredth of the time."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return packer.compress(b"\n".join([line.json for line in lines])) + packer.flush()


class Transport:
    """Used by one thread. A connection that the server has closed meanwhile is made anew."""

    def __init__(self, settings: Settings) -> None:
        parts = urlsplit(settings.url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._tls = parts.scheme == "https"
        self._path = parts.path.rstrip("/") + PATH
        self._settings = settings
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, token: str | None, seconds: float) -> Answer:
        """Send a packed body, waiting at most `seconds` for each step. Raises FAILURES."""
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
            "User-Agent": "costmeter-sdk",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        kept = self._connection is not None
        try:
            return self._exchange(body, headers, seconds)
        except (http.client.RemoteDisconnected, ConnectionError):
            # A kept connection may have been closed while it was idle; the server
            # recognises what it has booked already.
            if not kept:
                raise
            return self._exchange(body, headers, seconds)

    def _exchange(self, body: bytes, headers: dict[str, str], seconds: float) -> Answer:
        try:
            connection = self._connection or self._connect(seconds)
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            text = response.read(_MOST_ANSWER_BYTES)
        except BaseException:
            self.close()
            raise
        if response.will_close or not response.isclosed():
            self.close()
        return Answer(
            response.status, text, retry_after(response.headers.get("Retry-After")),
            response.headers.get("Location", ""),
        )  # fmt: skip

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        patience = min(self._settings.connect_seconds, seconds)
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = self._connection = kind(self._host, self._port, timeout=patience)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*FAILURES):
                connection.close()

    def forget(self) -> None:
        """In a forked child: let go of the parent's connection without touching its locks.

        The parent's thread may be in the middle of reading it. Its buffer is then locked for
        ever in the child, and whatever closes or collects that buffer would wait for ever.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        _INHERITED.append(connection)
        sock = connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                os.close(sock.detach())


def retry_after(text: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date; None without one."""
    if not text:
        return None
    try:
        seconds = float(text) if text.strip().isdigit() else _until(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MOST_RETRY_AFTER)


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()
