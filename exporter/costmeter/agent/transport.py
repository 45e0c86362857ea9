"""One kept-alive connection to the server: a body out, an answer in."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
import zlib
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from costmeter import __version__

PATH = "/api/v1/usage"
#: An answer to a body of refused segments; more is no answer of this server.
_MOST_ANSWER_BYTES = 8 << 20
#: Past an hour a Retry-After is more likely a mistake than a plan.
_MOST_RETRY_AFTER = 3600.0
_GZIP = zlib.MAX_WBITS | 16

#: Everything that a connection can fail with.
FAILURES = (OSError, http.client.HTTPException)


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: float | None


class Tls(NamedTuple):
    """Files of the client's side; None means what this machine trusts, and no certificate."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises OSError, of which SSLError is one."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(self.cert_file, self.key_file, password=lambda: b"")
        return context


def pack(body: bytes) -> bytes:
    """Gzipped. Level 1: a tenth of the bytes for a hundredth of the time."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


class Transport:
    """Used by one thread. A connection that the server has closed meanwhile is made anew."""

    def __init__(self, url: str, tls: Tls, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/") + PATH
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None

    def post(self, packed: bytes, token: str | None, seconds: float | None = None) -> Answer:
        """Send a packed body, waiting at most `seconds` for each step. Raises FAILURES."""
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "User-Agent": f"costmeter-agent/{__version__}",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        patience = self._timeout_seconds if seconds is None else seconds
        kept = self._connection is not None
        try:
            return self._exchange(packed, headers, patience)
        except (http.client.RemoteDisconnected, ConnectionError):
            # A kept connection may have been closed while it was idle; the server
            # recognises what it has booked already.
            if not kept:
                raise
            return self._exchange(packed, headers, patience)

    def _exchange(self, packed: bytes, headers: dict[str, str], seconds: float) -> Answer:
        try:
            connection = self._connection or self._connect(seconds)
            connection.sock.settimeout(seconds)
            connection.request("POST", self._path, packed, headers)
            response = connection.getresponse()
            text = response.read(_MOST_ANSWER_BYTES)
        except BaseException:
            self.close()
            raise
        if response.will_close or not response.isclosed():
            self.close()
        return Answer(response.status, text, retry_after(response.headers.get("Retry-After")))

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._secure:
            # Made for each connection: a certificate that was renewed is used then.
            context = self._tls.context()
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        self._connection = connection
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*FAILURES):
                connection.close()


def retry_after(text: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date; None without one."""
    if not text:
        return None
    try:
        if text.strip().isdigit():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MOST_RETRY_AFTER)
